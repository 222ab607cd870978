"""Soft targets: the items whose texts are nearest to the user's profile.

No paper; ProMax, arXiv 2604.26231, is similar.

Profiles and items must be encoded by the same encoder and not be reduced separately. Both sides are centred, because
what all profiles share with all items describes no user.

Shapes: U n_users, N n_items + 1, E width of the text vectors, K nearest items, M rows.
"""

from typing import ClassVar

from torch import Tensor

from retort.offline.distillation._base import Objective, StudentOutput, zero_loss
from retort.offline.distillation._item_targets import item_targets, nearest_items, unit_items
from retort.offline.distillation._teacher_positions import listed_cross_entropy
from retort.offline.distillation._user_targets import standardise, user_targets
from retort.offline.distillation.configs.soft_items import Config
from retort.offline.students._base import Student
from retort.offline.teachers.teacher import Teacher
from retort.shared.base.errors import TeacherError
from retort.shared.base.schema import PAD


class Model(Objective):
    """Cross-entropy between the profile's nearest items and the scores of the newest state, if it has a target.

    A student that masks items sees most newest items; such a state scores its own item.
    """

    reads_products: ClassVar[bool] = True
    config: Config
    known_U: Tensor
    items_UK: Tensor
    shares_UK: Tensor

    def __init__(self, config: Config, student: Student, teacher: Teacher) -> None:
        super().__init__(config, student, teacher)
        users, items = user_targets(teacher, "soft_items"), item_targets(teacher, "soft_items")
        if users.vectors_UP.shape[1] != items.vectors_NE.shape[1]:
            raise TeacherError(
                f"objective 'soft_items': user vectors are {users.vectors_UP.shape[1]} wide, item vectors "
                f'{items.vectors_NE.shape[1]}; encode both by one encoder and set [reducer] method = "none".'
            )
        users = standardise(users)
        k = min(config.k, int(items.known_N.sum()))
        cosines, indexes = nearest_items(users.vectors_UP, unit_items(items), items.known_N, k)
        self.register_buffer("known_U", users.known_U, persistent=False)
        self.register_buffer("items_UK", indexes, persistent=False)
        self.register_buffer("shares_UK", (cosines / config.temperature).softmax(-1), persistent=False)

    def forward(self, output: StudentOutput) -> Tensor:
        known_B = self.known_U[output.users_B] & (output.targets_BT[:, -1] != PAD)
        if not known_B.any():
            return zero_loss(output)
        users_M = output.users_B[known_B]
        states_MD = output.states[-1][known_B, -1]
        items_MK, shares_MK = self.items_UK[users_M], self.shares_UK[users_M]
        return listed_cross_entropy(states_MD, output.table_ND, items_MK, shares_MK, self.config.negatives)
