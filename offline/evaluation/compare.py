"""Paired comparison of two runs: bootstrap over users and seeds, with a 95 % interval.

Shapes: S seeds, U users with test cases in both runs, C cases: one a user, or several (successive targets).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from retort.offline.evaluation.metrics import hit_rate, mrr, ndcg
from retort.shared.base.errors import DataError
from retort.shared.model.paired_test import bootstrap

_METRICS = {"hr": hit_rate, "ndcg": ndcg, "mrr": mrr}


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


def compare(
    a: list[pl.DataFrame], b: list[pl.DataFrame], metric: str = "ndcg@10", *, resamples: int = 10_000, seed: int = 0
) -> Comparison:
    """Compute a paired bootstrap over users of the metric's mean over seeds.

    A user's cases are paired in their order and drawn together, because they are not independent. With several seeds
    on both sides the seeds are resampled too, so that the interval covers both sources of variance.

    Args:
        a: Baseline, one frame for each seed, as `evaluate.tabulate_ranks` makes it.
        b: Variant, likewise.
        metric: hr, ndcg or mrr at a k.
        resamples: Number of bootstrap samples; p is at least 1 / resamples.
        seed: Of the bootstrap.

    Raises:
        DataError: The runs share no test user, or the metric is unknown.
    """
    a, b = [_numbered(frame) for frame in a], [_numbered(frame) for frame in b]
    cases = _common_cases(a + b)
    users_C = cases["user_id"].rle_id().to_numpy()
    values_a, values_b = _values(a, cases, metric), _values(b, cases, metric)
    found = bootstrap(values_a, values_b, users_C, resamples=resamples, seed=seed)
    mean_a, mean_b = float(values_a.mean()), float(values_b.mean())
    return Comparison(
        metric=metric,
        users=int(users_C[-1]) + 1,
        seeds=min(len(a), len(b)),
        a=mean_a,
        b=mean_b,
        difference=mean_b - mean_a,
        low=found.low,
        high=found.high,
        p=found.p,
    )


_CASE = ["user_id", "nth"]


def _numbered(frame: pl.DataFrame) -> pl.DataFrame:
    """user_id, nth of the user's cases, rank."""
    return frame.select("user_id", pl.int_range(pl.len()).over("user_id").alias("nth"), "rank")


def _common_cases(frames: list[pl.DataFrame]) -> pl.DataFrame:
    common = frames[0].select(_CASE)
    for frame in frames[1:]:
        common = common.join(frame, on=_CASE, how="semi")
    if not len(common):
        raise DataError("the two runs share no test user; compare runs on the same data and split.")
    return common.sort(_CASE)


def _values(frames: list[pl.DataFrame], cases: pl.DataFrame, metric: str) -> NDArray[np.float64]:
    name, _, k = metric.partition("@")
    if name not in _METRICS or not k.isdigit():
        raise DataError(f"{metric!r} is no metric; name hr, ndcg or mrr at a k, such as ndcg@10.")
    per_case = _METRICS[name]
    ranks = [cases.join(frame, on=_CASE, how="left", maintain_order="left")["rank"].to_numpy() for frame in frames]
    return np.stack([per_case(one, int(k)) for one in ranks])


def interval(values: Sequence[float]) -> tuple[float, float | None]:
    """Compute the mean over seeds and half of its 95 % interval by Student's t; no interval for one seed."""
    from scipy.stats import t as students_t

    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, None
    spread = float(np.std(values, ddof=1)) / np.sqrt(len(values))
    return mean, float(students_t.ppf(0.975, len(values) - 1) * spread)
