"""Collaborative embedding distillation of DLLM2Rec, https://arxiv.org/abs/2405.00338: e_i = b_i + η · W z_i.

b_i is the student's own vector, z_i the item's text vector, W learnt. The sum is read at the input and scored against
at the output, and is written into the table when training ends: what is exported is a plain student. (The published
code adds it to the input only, and then needs z_i when serving.)

Shapes: N n_items + 1, D embedding_dim, P width of z.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from retort.offline.distillation._base import Objective, StudentOutput, zero_loss
from retort.offline.distillation._item_vectors import ItemTargets, item_targets, whitened
from retort.offline.distillation.configs.embedding import Config
from retort.offline.students._base import Student
from retort.offline.teachers.teacher import Teacher


class Model(Objective):
    """Learns by the student's own loss, through the item table."""

    adds_loss: ClassVar[bool] = False
    config: Config
    vectors_NP: Tensor

    def __init__(self, config: Config, student: Student, teacher: Teacher) -> None:
        super().__init__(config, student, teacher)
        dim = student.config.embedding_dim
        targets = item_targets(teacher, "embedding")
        if config.mode == "repaired":
            targets = whitened(targets, config.width or dim, config.whiten)
        self.register_buffer("vectors_NP", _zero_where_unknown(targets), persistent=False)
        self.project = nn.Linear(self.vectors_NP.shape[1], dim, bias=False)  # a bias would reach unknown items and PAD
        if config.mode == "repaired":
            nn.init.orthogonal_(self.project.weight)

    def attach(self, student: Student) -> None:
        student.add_to_items(self)

    def rows(self, items: Tensor) -> Tensor:
        """(...,) item indexes → (..., D)."""
        return self.config.weight * self.project(self.vectors_NP[items])

    def table(self) -> Tensor:
        """(N, D)."""
        return self.config.weight * self.project(self.vectors_NP)

    def forward(self, output: StudentOutput) -> Tensor:
        return zero_loss(output)


def _zero_where_unknown(targets: ItemTargets) -> Tensor:
    return torch.where(targets.known_N[:, None], targets.vectors_NE, 0.0)
