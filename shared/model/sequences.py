"""From histories of any length to the rectangle that a student reads."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from retort.shared.base.schema import PAD

IntArray = NDArray[np.int64]


def left_pad(histories: Sequence[IntArray], max_length: int) -> IntArray:
    """The last `max_length` indexes of each history, oldest first, PAD on the left.

    Returns (B, T) with T the longest kept history, at least 1: no work is done on columns that are all padding.
    """
    longest = max((len(history) for history in histories), default=0)
    width = max(1, min(longest, max_length))
    items_BT = np.full((len(histories), width), PAD, dtype=np.int64)
    for row, history in zip(items_BT, histories, strict=True):
        kept = history[-width:]
        if len(kept):
            row[-len(kept) :] = kept
    return items_BT


def right_fill(lists: Sequence[IntArray]) -> IntArray:
    """Lists of indexes as (B, H) with PAD on the right; H at least 1."""
    width = max(1, max((len(one) for one in lists), default=0))
    filled_BH = np.full((len(lists), width), PAD, dtype=np.int64)
    for row, one in zip(filled_BH, lists, strict=True):
        row[: len(one)] = one
    return filled_BH
