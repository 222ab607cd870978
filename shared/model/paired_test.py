"""Paired test of two rankers over the same users: metrics of one right item, and a bootstrap of their difference.

Shapes: S seeds, C cases: one a user, or several (successive targets); ranks_C: place of the target counted from 1, 0
where it is not in the list.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retort.shared.base.errors import DataError

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


_METRICS = {"hr": hit_rate, "ndcg": ndcg, "mrr": mrr}


def parse_metric(metric: str) -> tuple[Callable[[IntArray, int], FloatArray], int]:
    """Return the function and the k of a metric such as "ndcg@10".

    Raises:
        DataError: The metric is unknown.
    """
    name, _, k = metric.partition("@")
    if name not in _METRICS or not k.isdecimal():
        raise DataError(f"{metric!r} is no metric; name hr, ndcg or mrr at a k, such as ndcg@10.")
    return _METRICS[name], int(k)


def metric_of_cases(metric: str, ranks_C: IntArray) -> FloatArray:
    """Compute hr, ndcg or mrr at a k, such as "ndcg@10", per case.

    Raises:
        DataError: The metric is unknown.
    """
    compute, k = parse_metric(metric)
    return compute(ranks_C, k)


@dataclass(frozen=True)
class Comparison:
    """Baseline a against variant b on one metric. Differences are b − a; the interval holds 95 %.

    p is two-sided: twice the share of resamples on the wrong side of 0, at least 1 / resamples.
    """

    metric: str
    users: int
    seeds: int
    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float

    @property
    def relative(self) -> float:
        """Difference as a share of a."""
        return self.difference / self.a if self.a else float("nan")

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0

    @property
    def percent(self) -> str:
        """The difference and its interval in per cent of a."""
        a = self.a or float("nan")
        return f"{self.relative:+.1%} [{self.low / a:+.1%}, {self.high / a:+.1%}]"

    def sentence(self) -> str:
        """The result in one sentence."""
        verdict = "significant" if self.significant else "not significant"
        return (
            f"{self.metric}: {self.a:.4f} → {self.b:.4f}, {self.percent} "
            f"over {self.users} users and {self.seeds} seed(s), p = {self.p:.2g}: {verdict}"
        )


def compare_cases(
    a_SC: FloatArray, b_SC: FloatArray, users_C: NDArray[np.integer], metric: str, *, resamples: int, seed: int = 0
) -> Comparison:
    """Compare two rankers by the values of a metric on the same cases; see `bootstrap`."""
    found = bootstrap(a_SC, b_SC, users_C, resamples=resamples, seed=seed)
    mean_a, mean_b = float(a_SC.mean()), float(b_SC.mean())
    return Comparison(
        metric=metric,
        users=int(users_C[-1]) + 1,
        seeds=min(len(a_SC), len(b_SC)),
        a=mean_a,
        b=mean_b,
        difference=mean_b - mean_a,
        low=found.low,
        high=found.high,
        p=found.p,
    )


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
