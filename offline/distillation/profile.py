"""Profile reconstruction, ECIR 2026, https://arxiv.org/abs/2604.21536: a user's pooled states tell the profile vector.

mode "faithful" projects the profile onto the student with a learnt map, as published: the target can then collapse to
a constant, which costs nothing and teaches nothing. mode "repaired" (default) keeps the target fixed, centred and of
unit length, and projects the student's side instead.

Shapes: B batch, T sequence, D embedding_dim, P width of the teacher's vectors.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from offline.distillation._base import Objective, ObjectiveConfig, StudentOutput, nothing
from offline.distillation._pooling import Pool, Pooling
from offline.students._base import Student, real_positions
from offline.teachers.teacher import Teacher
from shared.errors import TeacherError


class Config(ObjectiveConfig):
    """The papers' knobs; `block` counts from 0, −1 is the last."""

    mode: Literal["repaired", "faithful"] = "repaired"
    pooling: Pooling = "mean"
    gamma: float = Field(0.1, description="weight_scale of exponential pooling")
    loss: Literal["mse", "rmse", "cosine"] = "cosine"
    block: int = -1


class Model(Objective):
    """Agree with what was written about the user."""

    config: Config
    targets_NP: Tensor
    known_N: Tensor

    def __init__(self, config: Config, student: Student, teacher: Teacher) -> None:
        super().__init__(config, student, teacher)
        if teacher.user_vectors is None or teacher.has_user is None:
            raise TeacherError("the objective 'profile' needs user vectors; add [profiles] to the recipe.")
        if not -student.n_blocks <= config.block < student.n_blocks:
            raise TeacherError(f"objective 'profile': block = {config.block}, but the student has {student.n_blocks}.")
        dim, width = student.config.embedding_dim, teacher.user_vectors.shape[1]
        targets_NP = torch.from_numpy(teacher.user_vectors)
        known_N = torch.from_numpy(teacher.has_user)
        if config.mode == "repaired":
            targets_NP = _standardised(targets_NP, known_N)
        self.register_buffer("targets_NP", targets_NP, persistent=False)
        self.register_buffer("known_N", known_N, persistent=False)
        self.pool = Pool(config.pooling, dim, config.gamma)
        self.project = nn.Linear(dim, width) if config.mode == "repaired" else nn.Linear(width, dim)

    def forward(self, output: StudentOutput) -> Tensor:
        known_B = self.known_N[output.users_B] & real_positions(output.items_BT).any(-1)
        states_BTD = output.states[self.config.block][known_B]
        pooled_BD = self.pool(states_BTD, real_positions(output.items_BT[known_B]))
        targets_BP = self.targets_NP[output.users_B[known_B]]
        if not len(targets_BP):
            return nothing(output)
        if self.config.mode == "repaired":
            return self._distance(self.project(pooled_BD), targets_BP)
        return self._distance(pooled_BD, self.project(targets_BP))

    def _distance(self, said: Tensor, target: Tensor) -> Tensor:
        match self.config.loss:
            case "mse":
                return functional.mse_loss(said, target)
            case "rmse":
                return functional.mse_loss(said, target).clamp(min=1e-12).sqrt()
            case "cosine":
                return (1 - functional.cosine_similarity(said, target, dim=-1)).mean()


def _standardised(vectors_NP: Tensor, known_N: Tensor) -> Tensor:
    """Centred by the known users' mean and of unit length: what all users share is nobody's knowledge."""
    centred_NP = vectors_NP - vectors_NP[known_N].mean(0)
    return functional.normalize(centred_NP, dim=-1)
