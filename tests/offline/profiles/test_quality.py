"""Quality of profiles: useless ones are recognised without a reader."""

from pathlib import Path

import polars as pl
import pytest

from retort.offline.profiles.quality import ProfilesQuality, measure_profiles

WORDS = [
    f"{first}{last}" for first in ("amber", "birch", "cedar", "dune") for last in ("wood", "field", "stone", "brook")
]


def measure(folder: Path, texts: list[str], grounding: list[float | None]) -> ProfilesQuality:
    path = folder / "profiles.parquet"
    pl.DataFrame(
        {"text": texts, "grounding": grounding}, schema={"text": pl.String, "grounding": pl.Float64}
    ).write_parquet(path)
    quality = measure_profiles(path)
    assert quality is not None
    return quality


def own_text(user: int) -> str:
    return " ".join(WORDS[(user + step) % len(WORDS)] + str(user) for step in range(12))


def test_good_profiles_have_no_problem(tmp_path: Path) -> None:
    quality = measure(tmp_path, [own_text(user) for user in range(1, 20)], [0.9] * 18 + [None])
    assert quality.distinct == 1.0
    assert quality.shared == 0.0
    assert quality.faithfulness == pytest.approx(0.9)
    assert quality.problems() == []
    assert quality.warning() is None


def test_one_text_for_many_users_tells_nobody_apart(tmp_path: Path) -> None:
    quality = measure(tmp_path, [own_text(1)] * 10 + [own_text(2)], [None] * 11)
    assert quality.faithfulness is None
    assert {"many users have the same text", "the texts hardly tell users apart"} <= set(quality.problems())


def test_loops_and_invented_claims_are_reported(tmp_path: Path) -> None:
    looped = [f"user {user} likes warm films and user {user} likes warm films and " * 6 for user in range(9)]
    quality = measure(tmp_path, looped, [0.2] * 9)
    assert {"the model repeats itself", "the histories do not support most claims"} <= set(quality.problems())
    assert "of little use" in str(quality.warning())
    assert "faithfulness 0.20" in quality.line()


def test_a_sample_stands_for_a_large_file_and_one_profile_is_not_judged(tmp_path: Path) -> None:
    assert measure(tmp_path, [own_text(user) for user in range(2500)], [1.0] * 2500).n_texts == 1000
    path = tmp_path / "one.parquet"
    pl.DataFrame({"text": ["alone"], "grounding": [1.0]}).write_parquet(path)
    assert measure_profiles(path) is None
