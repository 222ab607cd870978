"""Paired test of two rankers over the same users: metrics of one right item, and a bootstrap of their difference.

Shapes: S seeds, C cases: one a user, or several (successive targets); ranks_C: place of the target counted from 1, 0
where it is not in the list.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


def hit_rate(ranks_C: IntArray, k: int) -> FloatArray:
    """HR@k (with one target the same as recall@k), per case."""
    return ((ranks_C > 0) & (ranks_C <= k)).astype(np.float64)


def ndcg(ranks_C: IntArray, k: int) -> FloatArray:
    """NDCG@k with one relevant item: 1 / log2(rank + 1), per case."""
    return np.where(hit_rate(ranks_C, k) > 0, 1 / np.log2(np.maximum(ranks_C, 1) + 1.0), 0.0)


def mrr(ranks_C: IntArray, k: int) -> FloatArray:
    """MRR@k: 1 / rank, per case."""
    return np.where(hit_rate(ranks_C, k) > 0, 1 / np.maximum(ranks_C, 1), 0.0)


@dataclass(frozen=True)
class Interval:
    """95 % interval of a difference; p is two-sided, at least 1 / resamples."""

    low: float
    high: float
    p: float


def bootstrap(
    a_SC: FloatArray, b_SC: FloatArray, users_C: NDArray[np.integer], *, resamples: int, seed: int = 0
) -> Interval:
    """Bootstrap the mean of b − a over users and, with several seeds on both sides, over seeds.

    A user's cases are drawn together, because they are not independent.

    Args:
        users_C: Number of each case's user, from 0, ascending.
    """
    random = np.random.default_rng(seed)
    differences = np.array([_resampled(a_SC, b_SC, users_C, random) for _ in range(resamples)])
    low, high = np.quantile(differences, [0.025, 0.975])
    wrong_side = min((differences <= 0).mean(), (differences >= 0).mean())
    # resamples without any difference lie on both sides
    return Interval(float(low), float(high), float(min(1.0, max(2 * wrong_side, 1 / resamples))))


def _resampled(a_SC: FloatArray, b_SC: FloatArray, users_C: NDArray[np.integer], random: np.random.Generator) -> float:
    n_users = int(users_C[-1]) + 1
    drawn_C = np.bincount(random.integers(n_users, size=n_users), minlength=n_users)[users_C]
    # no matrix product: its threads wait for each other longer than they work, thousands of times
    return float(np.einsum("c,c->", _seed_mean(b_SC, random) - _seed_mean(a_SC, random), drawn_C / drawn_C.sum()))


def _seed_mean(values_SC: FloatArray, random: np.random.Generator) -> FloatArray:
    seeds = len(values_SC)
    if seeds == 1:
        return values_SC[0]
    weights_S = np.bincount(random.integers(seeds, size=seeds), minlength=seeds) / seeds
    return np.einsum("s,sc->c", weights_S, values_SC)
