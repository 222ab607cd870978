"""Profile reconstruction, ECIR 2026, https://arxiv.org/abs/2604.21536: a user's pooled states tell the profile vector.

mode "faithful" projects the profile onto the student with a learnt map, as published: the target can then collapse to
a constant, which costs nothing and teaches nothing. mode "repaired" (default) keeps the target fixed, centred and of
unit length, and projects the student's side instead.

Shapes: B batch, T sequence, D embedding_dim, U n_users, P width of the teacher's vectors.
"""

from typing import Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from offline.distillation._base import Objective, ObjectiveConfig, StudentOutput, nothing
from offline.distillation._pooling import Pool, Pooling
from offline.distillation._user_targets import standardised, user_targets
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
    targets_UP: Tensor
    known_U: Tensor

    def __init__(self, config: Config, student: Student, teacher: Teacher) -> None:
        super().__init__(config, student, teacher)
        targets = user_targets(teacher, "profile")
        if not -student.n_blocks <= config.block < student.n_blocks:
            raise TeacherError(f"objective 'profile': block = {config.block}, but the student has {student.n_blocks}.")
        if config.mode == "repaired":
            targets = standardised(targets)
        dim, width = student.config.embedding_dim, targets.vectors_UP.shape[1]
        self.register_buffer("targets_UP", targets.vectors_UP, persistent=False)
        self.register_buffer("known_U", targets.known_U, persistent=False)
        self.pool = Pool(config.pooling, dim, config.gamma)
        self.project = nn.Linear(dim, width) if config.mode == "repaired" else nn.Linear(width, dim)

    def forward(self, output: StudentOutput) -> Tensor:
        known_B = self.known_U[output.users_B] & real_positions(output.items_BT).any(-1)
        states_BTD = output.states[self.config.block][known_B]
        pooled_BD = self.pool(states_BTD, real_positions(output.items_BT[known_B]))
        targets_BP = self.targets_UP[output.users_B[known_B]]
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
