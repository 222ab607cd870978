"""New items that were requested over HTTP: a worker describes them, adds them to the champion and promotes it."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sqlalchemy import Engine

from retort.offline.common.progress import Silent
from retort.offline.export.publish import publish_to
from retort.offline.jobs.leases import LeaseRules
from retort.offline.pipeline.build import make_pipeline
from retort.offline.pipeline.context import RunContext
from retort.offline.pipeline.outcome import run_pipeline
from retort.offline.profiles.backends._base import Reply
from retort.offline.recipes.recipe import parse_recipe
from retort.offline.refresh import new_items as placing
from retort.offline.refresh.jobs import dead_letters
from retort.offline.refresh.worker import RefreshWorker
from retort.shared.db.migrate import upgrade
from retort.shared.db.session import open_database
from retort.shared.model import registry
from retort.shared.model.bundle import Bundle, open_bundle, seal_bundle
from retort.shared.profiles.new_items import NewItems, request_new_items
from retort.shared.profiles.refreshes import JobStatus, read_job
from tests.offline.knowledge._fakes import answer_all
from tests.offline.profiles._fakes import NO_SERVER, ScriptedBackend

KINDS = ("garden", "kitchen", "music", "sport")
N_ITEMS, N_USERS = 60, 60
ONCE = LeaseRules(lease_s=30.0, beat_s=0.05, max_attempts=1, backoff_s=0.0)
KNOWLEDGE = {
    "backend": "openai",
    "options": {"model": "scripted"},
    "domain": "products",
    "items_per_call": 1,
    "attempts": 1,
    "canary": False,
}
RECIPE = {
    "data": {"source": "table", "options": {"interactions": "events.csv", "items": "items.csv"}},
    "encoder": {"model": "tfidf"},
    "student": {"name": "sasrec", "max_length": 10, "embedding_dim": 16},
    "training": {"epochs": 2, "batch_size": 32, "negatives": 32, "warmup_steps": 5, "learning_rate": 5e-3},
    "objectives": [],
}
NEW = [
    {"item_id": "n1", "title": "garden thing number3", "attributes": {"year": 2001, "kinds": ["garden"]}},
    {"item_id": "n2", "title": "music thing number5", "attributes": {"kinds": "music"}},
]


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small trained bundle; its recipe has [knowledge] for items to come, and none was needed for the known ones."""
    root = tmp_path_factory.mktemp("world")
    random = np.random.default_rng(0)
    events = [
        (f"u{user}", f"i{item}")
        for user in range(N_USERS)
        for item in random.permutation([one for one in range(N_ITEMS) if one % 4 == user % 4])[:8]
    ]
    pl.DataFrame(events, schema=["user_id", "item_id"], orient="row").write_csv(root / "events.csv")
    rows = [(f"i{n}", f"{KINDS[n % 4]} thing number{n % 7}", 1990 + n % 9, KINDS[n % 4]) for n in range(N_ITEMS)]
    pl.DataFrame(rows, schema=["item_id", "title", "year", "kinds"], orient="row").write_csv(root / "items.csv")
    url = f"sqlite:///{root / 'retort.db'}"
    upgrade(url)
    raw = {**RECIPE, "data": {**RECIPE["data"], "options": {**RECIPE["data"]["options"], "lists": {"kinds": "|"}}}}  # type: ignore[dict-item]
    context = RunContext(parse_recipe("shop", raw), root, open_database(url), NO_SERVER, Silent())
    return run_pipeline(make_pipeline(context, root / "runs")).bundle


@pytest.fixture
def database(tmp_path: Path) -> Engine:
    url = f"sqlite:///{tmp_path / 'retort.db'}"
    upgrade(url)
    return open_database(url)


@pytest.fixture
def champion(database: Engine, sealed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    monkeypatch.setenv("RETORT_HOME", str(tmp_path / "home"))
    publish_to(database, sealed, tmp_path / "bundles")
    return _champion(database)


def _champion(engine: Engine) -> Bundle:
    return open_bundle(Path(registry.resolve(engine).uri))


def _work(engine: Engine, new: list[dict[str, Any]], answer: Any = None, share: float | None = 0.5) -> JobStatus:
    backend = ScriptedBackend(answer or (lambda prompt: answer_all(prompt.messages)))
    job_id = request_new_items(engine, NewItems(new, share, "ann"))
    with RefreshWorker(engine, NO_SERVER, ONCE, open_item_backend=lambda *_: backend) as worker:
        worker.work_on()
    return read_job(engine, job_id)


def test_new_items_are_added_to_the_champion_once(database: Engine, champion: Bundle) -> None:
    status = _work(database, NEW)
    assert (status.status, status.users_done, status.failed, status.error) == ("done", 2, 0, None)
    after = _champion(database)
    assert status.result is not None
    assert "2 items added" in status.result
    assert f"{after.bundle_id} is champion." in status.result
    assert after.path.parent == champion.path.parent
    rows = pl.DataFrame(pl.from_arrow(after.items)).tail(2).select("item_id", "title", "year", "kinds", "popularity")
    assert rows.rows() == [
        ("n1", "garden thing number3", 2001, ["garden"], 0),
        ("n2", "music thing number5", None, ["music"], 0),
    ]
    change = registry.changes(database)[0]
    assert (change.set_by, change.reason) == ("ann", "new items over HTTP: 2 added")

    changed = _work(database, [{**NEW[0], "title": "another title"}])
    assert (changed.status, changed.result) == (
        "done",
        f"No item was added to {after.bundle_id}. Known before and unchanged: 1.",
    )
    more = _work(database, [NEW[0], {"item_id": "n3", "title": "sport thing number1"}])
    assert "1 items added" in (more.result or "")
    assert _champion(database).manifest.n_items == champion.manifest.n_items + 3


@pytest.mark.parametrize("item_id", ["nan", "null", "1.0"])
def test_an_id_in_a_request_is_an_id_as_it_is_written(database: Engine, champion: Bundle, item_id: str) -> None:
    status = _work(database, [{**NEW[0], "item_id": item_id}])
    assert status.status == "done"
    assert item_id in _champion(database).item_index


def test_a_value_of_another_type_is_named(database: Engine, champion: Bundle) -> None:
    status = _work(database, [{"item_id": "n1", "title": "x", "attributes": {"year": "soon"}}])
    assert status.status == "failed"
    assert "the attribute 'year' of the new items must be Int64" in dead_letters(database, status.id)[0].error
    assert _champion(database).bundle_id == champion.bundle_id


def test_without_a_champion_the_request_fails_with_the_reason(database: Engine) -> None:
    status = _work(database, NEW)
    assert status.status == "failed"
    assert "there is no bundle or alias 'champion'" in (status.error or "")


def test_where_another_bundle_becomes_champion_the_items_are_added_to_that_one(
    database: Engine, champion: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow, done = placing.add_items, []

    def grow_late(bundle: Bundle, *args: Any, **given: Any) -> Any:
        added = grow(bundle, *args, **given)
        if not done:  # meanwhile another worker adds an item
            done.append(1)
            assert "1 items added" in (_work(database, [{"item_id": "n9", "title": "kitchen thing"}]).result or "")
        return added

    monkeypatch.setattr(placing, "add_items", grow_late)
    assert _work(database, NEW).status == "done"
    ids = list(_champion(database).item_index.ids)[-3:]
    assert sorted(ids) == ["n1", "n2", "n9"]


class TestKnowledge:
    """A champion whose recipe describes items with a model."""

    @pytest.fixture
    def knowing(self, database: Engine, champion: Bundle, tmp_path: Path) -> Bundle:
        work = tmp_path / "work"
        shutil.copytree(champion.path, work)
        (work / "manifest.json").unlink()
        recipe = {**champion.manifest.recipe, "knowledge": KNOWLEDGE}
        frame = pl.read_parquet(work / "items.parquet")
        texts = {"knowledge": pl.lit("plain tool"), "knowledge_source": pl.lit("m"), "knowledge_at": pl.lit("2026")}
        frame.with_columns(**texts).write_parquet(work / "items.parquet")
        path = seal_bundle(work, tmp_path / "bundles", champion.manifest.model_copy(update={"recipe": recipe}))
        publish_to(database, path, tmp_path / "bundles", alias="champion")
        return open_bundle(path)

    def test_items_get_their_text_from_the_model_or_the_request(self, database: Engine, knowing: Bundle) -> None:
        status = _work(database, [NEW[0], {**NEW[1], "knowledge": "my own text"}])
        assert (status.status, status.written) == ("done", 1)
        rows = pl.DataFrame(pl.from_arrow(_champion(database).items)).tail(2)
        assert rows["knowledge"][1] == "my own text"
        assert "quick drying" in rows["knowledge"][0]
        assert rows["knowledge_source"].to_list() == ["scripted", None]

    def test_a_refused_reply_leaves_an_item_without_a_text_and_says_so(self, database: Engine, knowing: Bundle) -> None:
        status = _work(database, NEW, lambda _: "I cannot help with that.")
        assert (status.status, status.failed) == ("done", 2)
        assert "2 of them have no knowledge." in (status.result or "")
        assert _champion(database).manifest.n_items == knowing.manifest.n_items + 2

    def test_a_server_that_does_not_answer_fails_the_request(self, database: Engine, knowing: Bundle) -> None:
        down = Reply("", error="the server is down", unanswered=True)
        status = _work(database, NEW, lambda _: down)
        assert status.status == "failed"
        assert "the server of scripted did not answer for 2 item texts" in (status.error or "")
        assert _champion(database).bundle_id == knowing.bundle_id
        assert _work(database, NEW).status == "done", "sent again, the same request is opened again"
