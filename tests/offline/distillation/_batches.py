"""A small student and what `fit` would hand an objective for three rows of the ring."""

import torch

from retort.offline.distillation._base import StudentOutput
from retort.offline.students import sasrec
from retort.offline.students._base import Student
from retort.shared.base.schema import PAD
from tests.offline._worlds import ring

SPLIT = ring()
ITEMS_BT = torch.tensor([[0, 0, 1, 2], [3, 4, 5, 6], [0, 7, 8, 9]])
USERS_B = torch.tensor([0, 5, 9])


def student(dropout: float = 0.0) -> sasrec.Model:
    torch.manual_seed(0)
    return sasrec.Model(sasrec.Config(embedding_dim=16, max_length=6, dropout=dropout), len(SPLIT.item_index))


def output(student: Student, items_BT: torch.Tensor = ITEMS_BT, users_B: torch.Tensor = USERS_B) -> StudentOutput:
    """Each row's items stand at the start of its user's train row; the next in the ring is asked for."""
    targets_BT = items_BT % len(SPLIT.item_index) + 1
    targets_BT = targets_BT.where(items_BT != PAD, PAD)
    nth_BT = (items_BT != PAD).cumsum(1)
    events_BT = torch.from_numpy(SPLIT.train.offsets)[users_B][:, None] + nth_BT
    events_BT = events_BT.where(items_BT != PAD, -1)
    states = student.hidden_states(items_BT)
    return StudentOutput(states, items_BT, users_B, targets_BT, events_BT, student.item_table())
