"""Corrupted profiles, and profiles from truncated histories."""

import polars as pl
import pytest

from retort.offline.common.progress import Silent
from retort.offline.profiles.config import ProfilesConfig
from retort.offline.profiles.corruption import CorruptionConfig, corrupt_profiles
from retort.offline.profiles.generator import profiles_table, write_profiles
from retort.offline.profiles.history import UserHistory
from retort.offline.profiles.profile_tasks import truncate_histories
from retort.shared.base.errors import RecipeError
from tests.offline.profiles._fakes import NO_SERVER, catalogue, histories, sqlite_store

TABLE = pl.DataFrame(
    {
        "user_id": [f"u{n}" for n in range(20) for _ in range(2)],
        "aspect": ["habits", "tastes"] * 20,
        "text": [f"{aspect} of {n}" for n in range(20) for aspect in ("habits", "tastes")],
        "grounding": [0.9] * 40,
    }
)


def wrong(damaged: pl.DataFrame) -> set[str]:
    joined = TABLE.join(damaged, on=["user_id", "aspect"], suffix="_new")
    return set(joined.filter(pl.col("text") != pl.col("text_new"))["user_id"])


@pytest.mark.parametrize("kind", ["others", "nonsense"])
def test_the_share_is_corrupted_and_a_larger_share_includes_a_smaller_one(kind: str) -> None:
    some, more = (corrupt_profiles(TABLE, CorruptionConfig(share=share, kind=kind)) for share in (0.25, 0.5))  # type: ignore[arg-type]
    assert (len(wrong(some)), len(wrong(more))) == (5, 10)
    assert wrong(some) < wrong(more)
    assert set(some.filter(pl.col("user_id").is_in(list(wrong(some))))["grounding"]) == {None}
    assert corrupt_profiles(TABLE, CorruptionConfig()).equals(TABLE)


def test_others_keep_the_aspect() -> None:
    damaged = corrupt_profiles(TABLE, CorruptionConfig(share=1.0))
    assert len(wrong(damaged)) == 20
    assert all(text.startswith(aspect) for _, aspect, text, _ in damaged.rows())


def test_a_profile_of_some_age_saw_the_beginning() -> None:
    (history,) = truncate_histories([UserHistory("u", ["a", "b", "c", "d"], [1, 2, 3, 4])], 0.5)
    assert history == UserHistory("u", ["a", "b"], [1, 2])
    assert truncate_histories([UserHistory("u", ["a", "b"])], 0.1)[0].item_ids == ["a"]


def test_old_profiles_are_found_again_under_their_own_history(tmp_path: object) -> None:
    store = sqlite_store(tmp_path)  # type: ignore[arg-type]
    texts = {}
    for share in (1.0, 0.5, 1.0):
        config = ProfilesConfig(backend="template", domain="movies", history_share=share)
        report = write_profiles(histories(), catalogue(), config, store, NO_SERVER, Silent())
        table = profiles_table(histories(), catalogue(), config, store, report)
        texts[share] = table["text"].to_list()
    assert (report.written, report.reused) == (0, 5)
    assert texts[1.0] != texts[0.5]
    assert "3 choices are known" in texts[0.5][0]


def test_imported_profiles_have_no_age(tmp_path: object) -> None:
    config = ProfilesConfig(backend="imported", history_share=0.5, options={"path": "x"})
    with pytest.raises(RecipeError, match="history_share"):
        write_profiles(histories(), catalogue(), config, sqlite_store(tmp_path), NO_SERVER, Silent())  # type: ignore[arg-type]


def test_nonsense_is_another_for_each_user_and_always_the_same() -> None:
    damaged, again = (corrupt_profiles(TABLE, CorruptionConfig(share=1.0, kind="nonsense")) for _ in range(2))
    assert damaged.equals(again)
    by_user = damaged.group_by("user_id").agg(pl.col("text").unique())
    assert all(len(texts) == 1 for texts in by_user["text"])
    assert len({texts[0] for texts in by_user["text"]}) == 20
