"""Initialisation of the item table from text vectors: items with similar texts start with similar vectors.

There is no loss and no addition to the student. The text vectors are reduced by PCA to the student's width, partially
whitened (so that a few strong directions do not dominate) and scaled.

Shapes: N n_items + 1, D embedding_dim.
"""

from typing import ClassVar

import torch
from torch import Tensor

from retort.offline.distillation._base import Objective, StudentOutput, zero_loss
from retort.offline.distillation._item_targets import item_targets, whitened
from retort.offline.distillation.configs.text_start import Config
from retort.offline.students._base import Student
from retort.offline.teachers.teacher import Teacher


class Model(Objective):
    """Initialisation before the first epoch; items without text keep their random vectors."""

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
