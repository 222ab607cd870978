"""Soft targets: the items whose texts are nearest to the next item. No paper.

A user who chose an item might have chosen one with a similar text. Rare items have too few clicks to show this.

Shapes: N n_items + 1, E width of the text vectors, K nearest items, M positions with a target, D embedding_dim.
"""

from typing import ClassVar

from torch import Tensor

from retort.offline.distillation._base import Objective, StudentOutput, zero_loss
from retort.offline.distillation._item_targets import item_targets, nearest_items, unit_items
from retort.offline.distillation._teacher_positions import listed_cross_entropy
from retort.offline.distillation.configs.near_items import Config
from retort.offline.students._base import Student
from retort.offline.teachers.teacher import Teacher
from retort.shared.base.errors import TeacherError
from retort.shared.base.schema import PAD


class Model(Objective):
    """Cross-entropy between the next item's neighbours and the student's scores, averaged over known next items."""

    reads_products: ClassVar[bool] = True
    config: Config
    known_N: Tensor
    near_NK: Tensor
    shares_NK: Tensor

    def __init__(self, config: Config, student: Student, teacher: Teacher) -> None:
        super().__init__(config, student, teacher)
        items = item_targets(teacher, "near_items")
        if (n_others := int(items.known_N.sum()) - 1) < 1:
            raise TeacherError(
                "the objective 'near_items' requires at least two items with a text; encode more of them."
            )
        units_NE, k = unit_items(items), min(config.k, n_others)
        cosines_NK, near_NK = nearest_items(units_NE, units_NE, items.known_N, k, rows_are_items=True)
        self.register_buffer("known_N", items.known_N, persistent=False)
        self.register_buffer("near_NK", near_NK, persistent=False)
        self.register_buffer("shares_NK", (cosines_NK / config.temperature).softmax(-1), persistent=False)

    def forward(self, output: StudentOutput) -> Tensor:
        cells_BT = (output.targets_BT != PAD) & self.known_N[output.targets_BT]
        targets_M = output.targets_BT[cells_BT]
        if not len(targets_M):
            return zero_loss(output)
        near_MK, shares_MK = self.near_NK[targets_M], self.shares_NK[targets_M]
        states_MD = output.states[-1][cells_BT]
        return listed_cross_entropy(states_MD, output.table_ND, near_MK, shares_MK, self.config.negatives)
