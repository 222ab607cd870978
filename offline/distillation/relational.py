"""Relational distillation: cosines among items (or users) match the teacher's; no projector, so nothing can collapse.

No paper; topology distillation (https://arxiv.org/abs/2106.08700) and DE-RRD are similar.

Shapes: B batch, T sequence, D embedding_dim, S sampled items or users, N n_items + 1, P width of the teacher's vectors.
"""

import torch
from torch import Tensor
from torch.nn import functional

from retort.offline.distillation._activations import Pool
from retort.offline.distillation._base import Objective, StudentOutput, zero_loss
from retort.offline.distillation._item_targets import item_targets
from retort.offline.distillation._user_targets import user_targets
from retort.offline.distillation.configs.relational import Config
from retort.offline.students._base import Student, real_positions
from retort.offline.teachers.teacher import Teacher
from retort.shared.base.schema import PAD


class Model(Objective):
    """Mean squared difference of centred cosines, over pairs."""

    config: Config
    targets_NP: Tensor
    known_N: Tensor

    def __init__(self, config: Config, student: Student, teacher: Teacher) -> None:
        super().__init__(config, student, teacher)
        if config.among == "items":
            items = item_targets(teacher, "relational")
            vectors, known = items.vectors_NE, items.known_N
        else:
            users = user_targets(teacher, "relational")
            vectors, known = users.vectors_UP, users.known_U
        self.register_buffer("targets_NP", vectors - vectors[known].mean(0), persistent=False)
        self.register_buffer("known_N", known, persistent=False)
        self.pool = Pool(config.pooling, student.config.embedding_dim, config.gamma)

    def forward(self, output: StudentOutput) -> Tensor:
        student_SD, ids_S = self._items(output) if self.config.among == "items" else self._users(output)
        if len(ids_S) < 2:
            return zero_loss(output)
        difference_SS = _cosines(student_SD) - _cosines(self.targets_NP[ids_S])
        n_pairs = len(ids_S) * (len(ids_S) - 1)
        return difference_SS.fill_diagonal_(0.0).square().sum() / n_pairs

    def _items(self, output: StudentOutput) -> tuple[Tensor, Tensor]:
        ids_S = output.targets_BT[output.targets_BT != PAD].unique()
        ids_S = ids_S[self.known_N[ids_S]]
        if len(ids_S) > self.config.sample:
            ids_S = ids_S[torch.randperm(len(ids_S), device=ids_S.device)[: self.config.sample]]
        # centred by the table's mean, as the teacher's vectors are by theirs
        return output.table_ND[ids_S] - output.table_ND[PAD + 1 :].detach().mean(0), ids_S

    def _users(self, output: StudentOutput) -> tuple[Tensor, Tensor]:
        known_B = self.known_N[output.users_B] & real_positions(output.items_BT).any(-1)
        pooled_SD = self.pool(output.states[-1][known_B], real_positions(output.items_BT[known_B]))
        return pooled_SD - pooled_SD.detach().mean(0), output.users_B[known_B]


def _cosines(vectors_SD: Tensor) -> Tensor:
    unit_SD = functional.normalize(vectors_SD, dim=-1)
    return unit_SD @ unit_SD.T
