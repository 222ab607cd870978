"""Paired comparison of two runs: bootstrap over users and seeds, with a 95 % interval.

Shapes: S seeds, U users with test cases in both runs, C cases: one a user, or several (successive targets).
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from retort.shared.base.errors import DataError
from retort.shared.model.paired_test import Comparison, compare_cases, metric_of_cases


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
    return compare_cases(values_a, values_b, users_C, metric, resamples=resamples, seed=seed)


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
    ranks = [cases.join(frame, on=_CASE, how="left", maintain_order="left")["rank"].to_numpy() for frame in frames]
    return np.stack([metric_of_cases(metric, one) for one in ranks])


def interval(values: Sequence[float]) -> tuple[float, float | None]:
    """Compute the mean over seeds and half of its 95 % interval by Student's t; no interval for one seed."""
    from scipy.stats import t as students_t

    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, None
    spread = float(np.std(values, ddof=1)) / np.sqrt(len(values))
    return mean, float(students_t.ppf(0.975, len(values) - 1) * spread)
