"""`[encoder] shards` and `[teacher.weights]` through the line: the same knowledge, a shard at a time, weighed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from sqlalchemy import Engine

from retort.offline.common.progress import Silent
from retort.offline.embeddings.vectors import read_vectors
from retort.offline.pipeline import sharded
from retort.offline.pipeline.build import make_pipeline
from retort.offline.pipeline.context import TRAINING_FILE, VECTORS_FILE, RunContext
from retort.offline.recipes.recipe import load_recipe
from retort.shared.base.errors import ProfileError, RecipeError
from retort.shared.base.settings import LanguageModelSettings
from retort.shared.db.migrate import upgrade
from retort.shared.db.session import open_database
from retort.shared.profiles.profile_choices import edit_profile

TINY = str(Path(__file__).parents[2] / "tiny.toml")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    url = f"sqlite:///{tmp_path_factory.mktemp('db')}/retort.db"
    upgrade(url)
    engine = open_database(url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def load_pipeline(engine: Engine, out: Path, *knobs: str) -> Any:
    settings = LanguageModelSettings(_env_file=None, openai_base_url=None, openai_api_key=None)  # type: ignore[call-arg]
    recipe = load_recipe(TINY, ["protocol=held", "training.epochs=1", *knobs])
    return make_pipeline(RunContext(recipe, None, engine, settings, Silent()), out)


def by_user(path: Path) -> dict[str, Any]:
    stored = read_vectors(path)
    return dict(zip(stored.ids, stored.vectors, strict=True))


def test_shards_hold_the_same_vectors_and_the_map_keeps_the_same_neighbours(engine: Engine, out: Path) -> None:
    whole, parts = load_pipeline(engine, out), load_pipeline(engine, out, "encoder.shards=3")
    wide = by_user(whole.ensure_path("vectors") / VECTORS_FILE)
    shards = sorted(parts.ensure_path("vectors").glob("wide-*.parquet"))
    assert len(shards) == 3
    spread = {user: vector for shard in shards for user, vector in by_user(shard).items()}
    assert spread.keys() == wide.keys()
    for user, vector in spread.items():
        np.testing.assert_allclose(vector, wide[user], atol=1e-5)
    one, other = (by_user(pipeline.ensure_path("teacher") / VECTORS_FILE) for pipeline in (whole, parts))
    users = sorted(one)
    near, same = (np.stack([narrow[user] for user in users]) for narrow in (one, other))
    # a map's axes may be turned round, what is near stays near
    np.testing.assert_allclose(near @ near.T, same @ same.T, atol=1e-3)
    assert (parts.ensure_path("teacher") / "reducer").is_dir()
    assert not list(parts.ensure_path("teacher").glob("narrow-*"))


def watched_encoding(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that is encoded from now on."""
    asked: list[str] = []
    encode = sharded.encode_texts

    def watched(texts: list[str], *rest: Any) -> Any:
        asked.extend(texts)
        return encode(texts, *rest)

    monkeypatch.setattr(sharded, "encode_texts", watched)
    return asked


def test_a_later_run_encodes_only_new_texts(engine: Engine, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_pipeline(engine, out, "encoder.shards=3")
    user = sorted(by_user(first.ensure_path("teacher") / VECTORS_FILE))[0]
    asked = watched_encoding(monkeypatch)
    edit_profile(engine, user, "Only books about boats, please.")
    # a choice is part of what the profiles are: the line writes them anew, and nobody else's vector
    second = load_pipeline(engine, out, "encoder.shards=3")
    assert second.ensure_path("vectors") != first.ensure_path("vectors")
    assert asked == ["Only books about boats, please."]
    before, after = (by_user(pipeline.ensure_path("teacher") / VECTORS_FILE) for pipeline in (first, second))
    assert before.keys() == after.keys()


def test_vectors_of_other_encoding_code_are_not_reused(
    engine: Engine, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_pipeline(engine, out, "encoder.shards=3")
    before = by_user(first.ensure_path("teacher") / VECTORS_FILE)
    asked = watched_encoding(monkeypatch)
    monkeypatch.setattr("retort.offline.pipeline.dag.hash_code", lambda act, plugins: f"another version of {act}")
    load_pipeline(engine, out, "encoder.shards=3").ensure_path("vectors")
    assert len(asked) >= len(before) - 1


def test_faithfulness_weights_reach_the_training(engine: Engine, out: Path) -> None:
    def loss(*knobs: str) -> float:
        said = orjson.loads((load_pipeline(engine, out, *knobs).ensure_path("train") / TRAINING_FILE).read_bytes())
        return float(said["log"][0]["objectives"]["profile"])

    assert loss("teacher.weights.by=grounding", "teacher.weights.power=4") != loss()


def test_invalid_combinations_are_refused(engine: Engine, out: Path) -> None:
    with pytest.raises(RecipeError, match="words are counted over all texts"):
        load_pipeline(engine, out, "encoder.shards=2", "encoder.model=tfidf")
    with pytest.raises(RecipeError, match="only the objective 'profile' uses"):
        load_pipeline(engine, out, "objectives=[{name='relational'}]", "teacher.weights.by=grounding")
    with pytest.raises(ProfileError, match="requires one text a user"):
        load_pipeline(engine, out, "encoder.shards=2", "profiles.family=aspects", "profiles.combine=false").ensure(
            "vectors"
        )
