"""The item table starts from the items' texts: a similar text is a similar item until clicks say otherwise.

Nothing is learnt beside the student's own loss, nothing is added to the student. The vectors are PCA'd to its width,
half whitened (so that a few loud directions do not rule) and scaled.

Shapes: N n_items + 1, D embedding_dim.
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from retort.offline.distillation._base import Objective, ObjectiveConfig, StudentOutput, nothing
from retort.offline.distillation._item_vectors import item_targets, whitened
from retort.offline.students._base import Student
from retort.offline.teachers.teacher import Teacher


class Config(ObjectiveConfig):
    """weight 0 leaves the random start; any other weight is a whole text start."""

    weight: float = Field(1.0, ge=0, description="0: the start stays random; any other: a whole text start")
    rms: float = Field(0.15, gt=0, description="root mean square of the components at the start")
    whiten: float = Field(0.5, ge=0, le=1, description="0: PCA as it is; 1: all directions equally loud")

    def active(self, epoch: int) -> bool:
        return False

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"items"})


class Model(Objective):
    """Acts once, before the first epoch; items without text keep their random start."""

    adds_loss: ClassVar[bool] = False
    config: Config

    def __init__(self, config: Config, student: Student, teacher: Teacher) -> None:
        super().__init__(config, student, teacher)
        targets = whitened(item_targets(teacher, "text_start"), student.config.embedding_dim, config.whiten)
        self._start_ND, self._known_N = targets.vectors_NE * config.rms, targets.known_N

    @torch.no_grad()
    def prepare(self, student: Student) -> None:
        table_ND = student.items.weight
        known_N = self._known_N.to(table_ND.device)
        table_ND[known_N] = self._start_ND.to(table_ND.device)[known_N]

    def forward(self, output: StudentOutput) -> Tensor:
        return nothing(output)
