"""Profile reconstruction with the mean profile of the most similar users as the target, which averages out errors.

No paper; LLM-ESR, https://arxiv.org/abs/2405.20646, uses the mean of similar users' states instead.

Shapes: U n_users, P width of the teacher's vectors, K neighbours, B batch, D embedding_dim.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from retort.offline.distillation._activations import Pool
from retort.offline.distillation._base import Objective, StudentOutput, check_block, zero_loss
from retort.offline.distillation._user_targets import UserTargets, standardise, user_targets
from retort.offline.distillation.configs.neighbours import Config
from retort.offline.students._base import Student, real_positions
from retort.offline.teachers.teacher import Teacher

_USERS_AT_ONCE = 1024
_POOL_SEED = 0


class Model(Objective):
    """1 − cosine between the projected, pooled states and the smoothed profile."""

    config: Config
    targets_UP: Tensor
    known_U: Tensor

    def __init__(self, config: Config, student: Student, teacher: Teacher) -> None:
        super().__init__(config, student, teacher)
        check_block(config.block, student, "neighbours")
        targets = standardise(user_targets(teacher, "neighbours"))
        smoothed_UP = config.own_share * targets.vectors_UP + (1 - config.own_share) * _neighbour_mean(targets, config)
        self.register_buffer("targets_UP", functional.normalize(smoothed_UP, dim=-1), persistent=False)
        self.register_buffer("known_U", targets.known_U, persistent=False)
        dim = student.config.embedding_dim
        self.pool = Pool(config.pooling, dim, config.gamma)
        self.project = nn.Linear(dim, targets.vectors_UP.shape[1])

    def forward(self, output: StudentOutput) -> Tensor:
        real_BT = real_positions(output.items_BT)
        known_B = self.known_U[output.users_B] & real_BT.any(-1)
        if not known_B.any():
            return zero_loss(output)
        pooled_BD = self.pool(output.states[self.config.block][known_B], real_BT[known_B])
        targets_BP = self.targets_UP[output.users_B[known_B]]
        return (1 - functional.cosine_similarity(self.project(pooled_BD), targets_BP, dim=-1)).mean()


def _neighbour_mean(targets: UserTargets, config: Config) -> Tensor:
    """(U, P): mean of the targets of the k nearest other users; a single user keeps the own target."""
    known = targets.known_U.nonzero().squeeze(1)
    generator = torch.Generator().manual_seed(_POOL_SEED)
    looked_at = known[torch.randperm(len(known), generator=generator)[: config.pool]]
    k = min(config.k, len(looked_at) - 1)
    if k < 1:
        return targets.vectors_UP
    smoothed_UP = targets.vectors_UP.clone()
    pool_CP = targets.vectors_UP[looked_at]
    for users in known.split(_USERS_AT_ONCE):
        cosines = targets.vectors_UP[users] @ pool_CP.T
        cosines = cosines.masked_fill(users[:, None] == looked_at, -torch.inf)
        smoothed_UP[users] = pool_CP[cosines.topk(k).indices].mean(1)
    return smoothed_UP
