"""Ranking metrics from the rank of the one right item: pure functions.

Shapes: U cases; ranks_U: place of the target counted from 1, 0 where it is not in the list.
"""

import numpy as np
from numpy.typing import NDArray

from retort.shared.base.schema import PAD

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


def ranks_in_lists(items_UK: IntArray, targets_U: IntArray) -> IntArray:
    """Rank of each target in its list. A target that is PAD (unknown to train) is in none."""
    hit_UK = (items_UK == targets_U[:, None]) & (targets_U != PAD)[:, None]
    return np.where(hit_UK.any(1), hit_UK.argmax(1) + 1, 0).astype(np.int64)


def hit_rate(ranks_U: IntArray, k: int) -> FloatArray:
    """HR@k (with one target the same as recall@k), per case."""
    return ((ranks_U > 0) & (ranks_U <= k)).astype(np.float64)


def ndcg(ranks_U: IntArray, k: int) -> FloatArray:
    """NDCG@k with one relevant item: 1 / log2(rank + 1), per case."""
    return np.where(hit_rate(ranks_U, k) > 0, 1 / np.log2(np.maximum(ranks_U, 1) + 1.0), 0.0)


def mrr(ranks_U: IntArray, k: int) -> FloatArray:
    """MRR@k: 1 / rank, per case."""
    return np.where(hit_rate(ranks_U, k) > 0, 1 / np.maximum(ranks_U, 1), 0.0)


def coverage(items_UK: IntArray, k: int, n_items: int) -> float:
    """Share of the catalogue that is in anybody's first k."""
    shown = np.unique(items_UK[:, :k])
    return float(np.count_nonzero(shown != PAD) / n_items)
