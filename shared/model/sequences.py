"""Sequences: lists of item indexes as padded rectangles, the input of a student."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from retort.shared.base.schema import PAD

IntArray = NDArray[np.int64]


def left_pad(histories: Sequence[IntArray], max_length: int) -> IntArray:
    """Return the last `max_length` indexes of each history, oldest first, with PAD on the left.

    Returns:
        (B, T) with T the longest kept history, at least 1, so that no column is all padding.
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
    """Return lists of indexes as (B, H) with PAD on the right; H at least 1."""
    width = max(1, max((len(each) for each in lists), default=0))
    filled_BH = np.full((len(lists), width), PAD, dtype=np.int64)
    for row, each in zip(filled_BH, lists, strict=True):
        row[: len(each)] = each
    return filled_BH
