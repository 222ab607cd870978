"""Themes: categories that a profile likes and the history supports, from a run's profiles to serving's Redis."""

from pathlib import Path

import polars as pl
import pytest
import redis

from retort.offline.cli.profiles import publish_themes
from retort.offline.common.progress import Silent
from retort.offline.data.tables import load_saved
from retort.offline.pipeline.build import load_pipeline
from retort.offline.pipeline.context import PROFILES_FILE
from retort.offline.profiles.history import Catalogue, UserHistory
from retort.offline.profiles.store import ProfileStore
from retort.offline.profiles.themes import extract_themes, join_texts
from retort.shared.db.migrate import upgrade
from retort.shared.db.session import open_database
from retort.shared.history import keys
from retort.shared.history.themes import MAX_THEMES, Theme, read_themes
from retort.shared.profiles.profile_choices import edit_profile, erase_profile
from tests.offline.profiles.test_faithfulness import films

TINY = str(Path(__file__).parents[2] / "tiny.toml")


def genre(value: str) -> Theme:
    return Theme("genres", value)


def history(user_id: str, *genres: str) -> UserHistory:
    return UserHistory(user_id, [f"{name}-1990-{n}" for name in genres for n in range(2)])


@pytest.fixture
def store(tmp_path: Path) -> ProfileStore:
    url = f"sqlite:///{tmp_path / 'p.db'}"
    upgrade(url)
    return ProfileStore(open_database(url))


def test_only_liked_and_supported_categories_are_themes(store: ProfileStore) -> None:
    liked = "Enjoys drama and, above all, comedies of the 1990s. Loves westerns."
    texts = {"ann": f"{liked} Avoids horror rather than musicals.", "bob": "Says nothing in particular."}
    people = [
        history("ann", "Comedy", "Comedy", "Drama", "Horror"),
        history("bob", "Comedy"),
        history("nobody", "Drama"),
        UserHistory("empty", []),
    ]
    found = dict(extract_themes(people, texts, Catalogue(films()), store, None))
    assert found == {"ann": [genre("Comedy"), genre("Drama")], "bob": [], "nobody": [], "empty": []}


def test_a_users_own_text_replaces_the_models(store: ProfileStore) -> None:
    edit_profile(store._engine, "ann", "I like horror.")
    erase_profile(store._engine, "bob")
    texts = {"ann": "Enjoys comedies.", "bob": "Enjoys comedies."}
    people = [history("ann", "Comedy", "Horror"), history("bob", "Comedy")]
    assert dict(extract_themes(people, texts, Catalogue(films()), store, None)) == {"ann": [genre("Horror")], "bob": []}


def test_all_aspects_of_a_user_are_one_text() -> None:
    frame = pl.DataFrame({"user_id": ["a", "b", "a"], "aspect": ["x", "x", "y"], "text": ["One.", "Two.", "Three."]})
    assert join_texts(frame) == {"a": "One.\nThree.", "b": "Two."}


def test_the_command_leaves_a_runs_themes_in_redis(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HISTORIES_REDIS_URL", redis_url)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'retort.db'}")
    monkeypatch.setenv("RETORT_HOME", str(tmp_path / "home"))
    runs = tmp_path / "runs"
    pipeline = load_pipeline(TINY, None, runs, [], Silent())
    said = publish_themes(TINY, None, runs, [], 30)
    profiles = pl.read_parquet(pipeline.ensure_path("profiles") / PROFILES_FILE)
    catalogue = load_saved(pipeline.ensure_path("data")).items
    with redis.Redis.from_url(redis_url) as client:
        held = {user: read_themes(client.get(keys.themes("default", user))) for user in profiles["user_id"].unique()}
        some = next(user for user, themes in held.items() if themes)
        assert 29 * 86_400 < client.ttl(keys.themes("default", some)) <= 30 * 86_400
    n_users = sum(bool(themes) for themes in held.values())
    assert n_users > 0
    assert said == f"{n_users} users have themes for 30 days"
    assert all(len(themes) <= MAX_THEMES for themes in held.values())
    for theme in held[some]:
        values = catalogue.frame[theme.attribute].explode().to_list()
        assert any(theme.value in str(value) for value in values), theme
