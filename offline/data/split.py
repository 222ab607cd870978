"""Who is trained on what, and who is asked what: everything downstream sees `Split.train` only."""

from dataclasses import dataclass
from typing import Literal

from offline.data.ragged import IntArray, Ragged
from shared.item_index import ItemIndex

# held: validation items stay out of training. refit: they are folded in, and only the test is asked.
Protocol = Literal["held", "refit"]


@dataclass(frozen=True)
class Cases:
    """Questions with known answers: after `histories[i]`, which item does user `users[i]` take?

    users: user_index of each case. histories: item indexes, oldest first (items unknown to train are left out).
    targets: item_index, or PAD where train never saw the item: a sure miss that still counts as a question.
    """

    users: IntArray
    histories: Ragged
    targets: IntArray

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class Split:
    """One division of the interactions.

    user_ids: external id of user_index 0 … n_users - 1. item_index: the items of train, and no others.
    train: one row a user (may be empty). validation: None under `refit`.
    """

    protocol: Protocol
    user_ids: tuple[str, ...]
    item_index: ItemIndex
    train: Ragged
    validation: Cases | None
    test: Cases
