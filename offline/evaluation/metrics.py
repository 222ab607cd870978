"""Ranking metrics from the rank of the one right item: pure functions.

Shapes: U cases; ranks_U: place of the target counted from 1, 0 where it is not in the list.
"""

import numpy as np
from numpy.typing import NDArray

from retort.shared.base.schema import PAD
from retort.shared.model.paired_test import hit_rate, mrr, ndcg

__all__ = ["coverage", "hit_rate", "mrr", "ndcg", "ranks_in_lists"]

IntArray = NDArray[np.int64]


def ranks_in_lists(items_UK: IntArray, targets_U: IntArray) -> IntArray:
    """Rank of each target in its list. A target that is PAD (unknown to train) is in none."""
    hit_UK = (items_UK == targets_U[:, None]) & (targets_U != PAD)[:, None]
    return np.where(hit_UK.any(1), hit_UK.argmax(1) + 1, 0).astype(np.int64)


def coverage(items_UK: IntArray, k: int, n_items: int) -> float:
    """Share of the catalogue that is in anybody's first k."""
    shown = np.unique(items_UK[:, :k])
    return float(np.count_nonzero(shown != PAD) / n_items)
