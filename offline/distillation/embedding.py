"""Collaborative embedding distillation of DLLM2Rec, https://arxiv.org/abs/2405.00338: e_i = b_i + η · W z_i.

b_i is the student's own vector, z_i the item's text vector, W learnt. The sum is read at the input and scored against
at the output, and is written into the table when training ends: what is exported is a plain student. (The published
code adds it to the input only, and then needs z_i when serving.)

Shapes: N n_items + 1, D embedding_dim, P width of z.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from retort.offline.distillation._base import Objective, ObjectiveConfig, StudentOutput, nothing
from retort.offline.distillation._item_vectors import ItemTargets, item_targets, whitened
from retort.offline.students._base import Student
from retort.offline.teachers.teacher import Teacher


class Config(ObjectiveConfig):
    """weight is the paper's η. With the defaults W z starts with root mean square 1, so η is the addition's size."""

    weight: float = Field(0.15, ge=0, description="η: size of what is added to an item's vector")
    mode: Literal["repaired", "faithful"] = Field("repaired", description="faithful: z as the encoder gave it")
    width: int | None = Field(None, ge=1, description="repaired: components of z that are kept; unset: embedding_dim")
    whiten: float = Field(0.5, ge=0, le=1, description="repaired: 0: PCA as it is; 1: all directions equally loud")

    def active(self, epoch: int) -> bool:
        return False

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"items"})


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
        return nothing(output)


def _zero_where_unknown(targets: ItemTargets) -> Tensor:
    return torch.where(targets.known_N[:, None], targets.vectors_NE, 0.0)
