"""Grounding as weights: aligned by id, mean one, nothing for those who have no profile."""

import numpy as np
import polars as pl
import pytest

from retort.offline.teachers.config import WeightsConfig
from retort.offline.teachers.faithfulness_weights import user_weights
from retort.shared.base.errors import TeacherError

TABLE = pl.DataFrame(
    {
        "user_id": ["b", "a", "a", "c"],
        "aspect": ["x", "x", "y", "x"],
        "text": ["."] * 4,
        "grounding": [1.0, 0.25, 0.75, None],
    }
)
USERS = ["a", "b", "c", "stranger"]


def test_weights_follow_faithfulness() -> None:
    weights = user_weights(USERS, TABLE, WeightsConfig(by="grounding"))
    np.testing.assert_allclose(weights, np.array([0.5, 1.0, 0.5, 0.0]) / (2 / 3), rtol=1e-6)
    assert weights[:3].mean() == pytest.approx(1.0)
    steep = user_weights(USERS, TABLE, WeightsConfig(by="grounding", power=3))
    assert steep[1] / steep[0] == pytest.approx(8.0)


def test_without_them_every_profile_counts_alike() -> None:
    np.testing.assert_array_equal(user_weights(USERS, TABLE, WeightsConfig()), [1, 1, 1, 0])


def test_invalid_faithfulness_is_refused() -> None:
    with pytest.raises(TeacherError, match="none of these profiles"):
        user_weights(["z"], TABLE, WeightsConfig(by="grounding"))
    with pytest.raises(TeacherError, match="hold no grounding"):
        user_weights(USERS, TABLE.drop("grounding"), WeightsConfig())
    with pytest.raises(TeacherError, match="every weight is 0"):
        user_weights(["a"], TABLE.with_columns(grounding=pl.lit(0.0)), WeightsConfig(by="grounding"))
