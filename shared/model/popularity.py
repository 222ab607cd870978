"""The list for those of whom nothing is known; online answers and files of answers share it."""

import numpy as np
from numpy.typing import NDArray

from retort.shared.model.sequences import IntArray


def by_popularity(popularity: NDArray[np.int64]) -> IntArray:
    """Item indexes, the most popular first; equal counts in the order of their index. popularity: (n_items + 1,)."""
    return np.argsort(-popularity[1:], kind="stable") + 1


def most_popular(order: IntArray, hidden: IntArray, depth: int) -> IntArray:
    """The first `depth` of `by_popularity` that are not hidden."""
    head = order[: depth + len(hidden)]
    return head[~np.isin(head, hidden)][:depth]


def popularity_scores(popularity: NDArray[np.int64]) -> NDArray[np.float32]:
    """log(1 + train events) by index."""
    return np.log1p(popularity).astype(np.float32)
