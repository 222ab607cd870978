"""k-core over parts of whole users: the events left when every user and item has at least k of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

Codes = NDArray[np.uint32]


@dataclass
class CodedPart:
    """Integer codes of the events of a part, and which of them are kept.

    Attributes:
        user_ids: Sorted; a user's code is its position here.
        users: Code of each event's user, (E,).
        items: Code of each event's item among all parts, (E,).
        kept: Mask of the events, (E,).
    """

    user_ids: pl.Series
    users: Codes
    items: Codes
    kept: NDArray[np.bool_]

    def user_counts(self) -> NDArray[np.int64]:
        """Return the number of kept events of each user."""
        return np.bincount(self.users[self.kept], minlength=len(self.user_ids))

    def item_counts(self, n_items: int) -> NDArray[np.int64]:
        """Return the number of kept events of each item."""
        return np.bincount(self.items[self.kept], minlength=n_items)


@dataclass(frozen=True)
class Sizes:
    """Numbers of kept events, users and items."""

    events: int
    users: int
    items: int


def coded_parts(frames: Sequence[tuple[pl.Series, Codes, pl.Series, Codes]]) -> tuple[list[CodedPart], int]:
    """Give items one code in all parts; returns the parts and the number of items.

    Args:
        frames: Of each part: its sorted user ids, the events' users, its sorted item ids, the events' items.
    """
    all_items = frames[0][2] if len(frames) == 1 else pl.concat([ids for _, _, ids, _ in frames]).unique().sort()
    parts = []
    for user_ids, users, item_ids, items in frames:
        code_of = None if len(frames) == 1 else all_items.search_sorted(item_ids).to_numpy()
        codes = items if code_of is None else code_of[items].astype(np.uint32)
        parts.append(CodedPart(user_ids, users, codes, np.ones(len(users), dtype=bool)))
    return parts, len(all_items)


def keep_k_core(parts: Sequence[CodedPart], n_items: int, k: int) -> int:
    """Narrow the masks of the parts to the k-core; returns the number of rounds until nothing changed."""
    if k <= 1 or not any(part.kept.any() for part in parts):
        return 0
    n_rounds = 0
    while True:
        n_rounds += 1
        enough_items = sum((part.item_counts(n_items) for part in parts), np.zeros(n_items, np.int64)) >= k
        changed = False
        for part in parts:
            left = part.kept & (part.user_counts() >= k)[part.users] & enough_items[part.items]
            changed |= bool((left != part.kept).any())
            part.kept = left
        if not changed:
            return n_rounds


def sizes(parts: Sequence[CodedPart], n_items: int) -> Sizes:
    """Count what is kept."""
    items = sum(part.item_counts(n_items) for part in parts)
    return Sizes(
        events=sum(int(part.kept.sum()) for part in parts),
        users=sum(int((part.user_counts() > 0).sum()) for part in parts),
        items=int(np.count_nonzero(items)),
    )
