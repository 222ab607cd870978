"""Collaborative embedding distillation of DLLM2Rec, https://arxiv.org/abs/2405.00338: e_i = b_i + η · W z_i.

b_i is the student's own vector, z_i the item's text vector, W learnt. The sum is used at the input and for scoring, and
is written into the item table when training ends, so that a plain student is exported. (The published code adds it to
the input only, and then needs z_i in serving.)

Shapes: N n_items + 1, D embedding_dim, P width of z.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from retort.offline.distillation._base import Objective, StudentOutput, zero_loss
from retort.offline.distillation._item_targets import ItemTargets, item_targets, whitened
from retort.offline.distillation.configs.embedding import Config
from retort.offline.students._base import Student
from retort.offline.teachers.teacher import Teacher


class Model(Objective):
    """Learnt addition to the item table, trained by the student's own loss."""

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
        self.project = nn.Linear(
            self.vectors_NP.shape[1], dim, bias=False
        )  # no bias: it would reach unknown items and PAD
        if config.mode == "repaired":
            nn.init.orthogonal_(self.project.weight)

    def attach(self, student: Student) -> None:
        student.add_to_items(self)

    def rows(self, items: Tensor) -> Tensor:
        """Return the additions (..., D) to the item indexes (...)."""
        return self.config.weight * self.project(self.vectors_NP[items])

    def table(self) -> Tensor:
        """Return the additions (N, D) to all items."""
        return self.config.weight * self.project(self.vectors_NP)

    def forward(self, output: StudentOutput) -> Tensor:
        return zero_loss(output)


def _zero_where_unknown(targets: ItemTargets) -> Tensor:
    return torch.where(targets.known_N[:, None], targets.vectors_NE, 0.0)
