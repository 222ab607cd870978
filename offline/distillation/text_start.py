"""The item table starts from the items' texts: a similar text is a similar item until clicks say otherwise.

Nothing is learnt beside the student's own loss, nothing is added to the student. The vectors are PCA'd to its width,
half whitened (so that a few loud directions do not rule) and scaled.

Shapes: N n_items + 1, D embedding_dim.
"""

from typing import ClassVar

import torch
from torch import Tensor

from retort.offline.distillation._base import Objective, StudentOutput, zero_loss
from retort.offline.distillation._item_vectors import item_targets, whitened
from retort.offline.distillation.configs.text_start import Config
from retort.offline.students._base import Student
from retort.offline.teachers.teacher import Teacher


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
        return zero_loss(output)
