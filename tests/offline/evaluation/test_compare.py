import numpy as np
import polars as pl
import pytest

from retort.offline.evaluation.compare import compare
from retort.shared.base.errors import DataError


def run(ranks: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame({"user_id": [f"u{i}" for i in range(len(ranks))], "rank": ranks})


RANDOM = np.random.default_rng(0)
RANKS = RANDOM.integers(0, 40, size=2000)


def test_a_run_against_itself_is_no_difference() -> None:
    result = compare([run(RANKS)], [run(RANKS)], resamples=500)
    assert result.difference == 0
    assert not result.significant
    assert result.p == 1


def test_a_clear_gain_is_significant_and_said() -> None:
    better = np.where(RANKS > 10, RANKS - 5, RANKS)
    result = compare([run(RANKS)], [run(better)], "hr@10", resamples=500)
    assert result.significant
    assert result.low <= result.difference <= result.high
    assert "significant" in result.sentence()


def test_users_are_paired_by_id_and_not_by_row() -> None:
    frame = run(RANKS)
    result = compare([frame], [frame.reverse()], resamples=200)
    assert result.difference == 0


def test_luck_of_the_seed_widens_the_interval() -> None:
    lucky = [run(np.where(RANDOM.random(2000) < share, 1, 0)) for share in (0.2, 0.3, 0.4)]
    flat = [run(np.where(RANDOM.random(2000) < 0.3, 1, 0)) for _ in range(3)]
    wide = compare(flat, lucky, resamples=500)
    narrow = compare(flat[:1], [run(np.where(RANDOM.random(2000) < 0.3, 1, 0))], resamples=500)
    assert wide.high - wide.low > narrow.high - narrow.low


def test_strangers_cannot_be_compared() -> None:
    with pytest.raises(DataError, match="no test user"):
        compare([run(RANKS)], [pl.DataFrame({"user_id": ["x"], "rank": [1]})])
    with pytest.raises(DataError, match="no metric"):
        compare([run(RANKS)], [run(RANKS)], "auc")


def test_several_cases_of_a_user_count_once_each_and_are_drawn_together() -> None:
    before = pl.DataFrame({"user_id": ["a", "a", "a", "b"], "rank": [1, 0, 0, 0]})
    after = pl.DataFrame({"user_id": ["b", "a", "a", "a"], "rank": [1, 0, 0, 0]})
    result = compare([before], [after], "hr@10", resamples=500)
    assert (result.users, result.a, result.b, result.difference) == (2, 0.25, 0.25, 0)
    # only whole users are drawn: both a's, both b's, or one of each
    assert (result.low, result.high) == pytest.approx((-1 / 3, 1))
