"""New items over HTTP, for real: a server, a Celery worker with Redis, a database, and a language model's server."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from retort.offline.common.progress import Silent
from retort.offline.export.publish import publish_to
from retort.offline.local.subprocesses import start_child
from retort.offline.pipeline.build import make_pipeline
from retort.offline.pipeline.context import RunContext
from retort.offline.pipeline.outcome import run_pipeline
from retort.offline.recipes.recipe import parse_recipe
from retort.serving.api.auth import Scope, create_key
from retort.shared.base.settings import LanguageModelSettings
from retort.shared.db.migrate import upgrade
from retort.shared.db.session import open_database
from tests.offline.knowledge._fakes import answer_all, records_of
from tests.offline.profiles._server import Answer, FakeServer, completion, serving
from tests.serving._process import serving_process
from tests.serving.api.test_auth import write

N_ITEMS = 40
RECIPE: dict[str, Any] = {
    "data": {"source": "table", "options": {"items": "items.csv", "position": "timestamp"}},
    "encoder": {"views": [{"text": "title", "model": "tfidf"}, {"text": "knowledge", "model": "tfidf"}]},
    "knowledge": {
        "backend": "openai",
        "options": {"model": "m"},
        "domain": "products",
        "canary": False,
        "checks": {"min_distinct": 0.0},
    },
    "student": {"name": "sasrec", "max_length": 8, "embedding_dim": 8},
    "training": {"epochs": 1, "batch_size": 16, "negatives": 8, "warmup_steps": 2},
    "objectives": [],
}
NEW = {"item_id": "n1", "title": "Essie Wonder99 Nail Lacquer", "attributes": {"brand": "Essie"}}


@pytest.fixture
def model() -> Iterator[FakeServer]:
    def script(_number: int, body: dict[str, Any]) -> Answer:
        return completion(answer_all(body["messages"]))

    with serving(script) as fake:
        yield fake


@pytest.fixture
def environment(tmp_path: Path, model: FakeServer, redis_url: str) -> dict[str, str]:
    """The settings of all processes, with a champion in the database."""
    url = f"sqlite:///{tmp_path / 'retort.db'}"
    upgrade(url)
    events = [f"u{user},B{(user + step) % N_ITEMS:04d},{step}" for user in range(30) for step in range(6)]
    (tmp_path / "interactions.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(events) + "\n")
    rows = [f"B{item:04d},Essie Wonder{item} Nail Lacquer,Essie" for item in range(N_ITEMS)]
    (tmp_path / "items.csv").write_text("item_id,title,brand\n" + "\n".join(rows) + "\n")
    engine = open_database(url)
    settings = LanguageModelSettings(_env_file=None, openai_base_url=model.url)  # type: ignore[call-arg]
    context = RunContext(parse_recipe("shop", RECIPE), tmp_path, engine, settings, Silent())
    publish_to(engine, run_pipeline(make_pipeline(context, tmp_path / "runs")).bundle, tmp_path / "bundles")
    engine.dispose()
    return {
        "DATABASE_URL": url,
        "REDIS_URL": redis_url,
        "RETORT_HOME": str(tmp_path),
        "OPENAI_BASE_URL": model.url,
        "OMP_NUM_THREADS": "1",
    }


def _wait(read: Callable[[], Any], until: Callable[[Any], bool], what: str) -> Any:
    end = time.monotonic() + 120
    while not until(found := read()):
        assert time.monotonic() < end, f"{what}: {found}"
        time.sleep(0.1)
    return found


def test_a_new_item_is_described_placed_and_recommended(
    tmp_path: Path, environment: dict[str, str], model: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, entry = create_key("boss", frozenset(Scope))
    write(tmp_path / "keys.json", [entry])
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    arguments = [sys.executable, "-m", "retort.offline.cli", "refresh", "work", "--poll-s", "0.5"]
    more = {"retort_follow_every_s": 0.2, "retort_keys_file": tmp_path / "keys.json"}
    shared = {name: environment[name] for name in ("DATABASE_URL", "REDIS_URL")}
    n_before = len(model.bodies)
    with (
        serving_process(tmp_path, **shared, **more) as server,
        start_child(arguments, "worker", log=tmp_path / "worker.log") as worker,
        httpx.Client(base_url=server.url, headers={"x-api-key": key}, timeout=10) as client,
    ):
        server.ready()
        told = client.post("/items", json={"items": [NEW], "share": 0.5})
        assert told.status_code == 202, told.text
        same = client.post("/items", json={"items": [NEW], "share": 0.5}).json()
        assert same["id"] == told.json()["id"]

        def read() -> dict[str, Any]:
            worker.check("it ended")
            return client.get(f"/refreshes/{same['id']}").json()

        done = _wait(read, lambda found: found["status"] not in ("pending", "running"), "the refresh")
        assert (done["status"], done["written"], done["error"]) == ("done", 1, None), worker.tail()
        assert "1 items added" in done["result"]
        body = {
            "history": ["B0001", "B0002"],
            "candidates": ["n1"],
            "fields": ["title", "knowledge", "knowledge_source"],
        }
        answer = _wait(
            lambda: client.post("/recommend", json=body).json(),
            lambda found: [item["item_id"] for item in found["items"]] == ["n1"],
            "the list",
        )
        assert answer["source"] == "student"
        fields = answer["items"][0]["fields"]
        assert (fields["title"], fields["knowledge_source"]) == (NEW["title"], "m")
        assert "quick drying" in fields["knowledge"]
        assert client.post("/items", json={"items": [NEW], "share": 0.5}).json()["status"] == "done"
    asked = [record["id"] for sent in model.bodies[n_before:] for record in records_of(sent["messages"])]
    assert asked == ["n1"], "one item, asked about once"
    assert json.loads(told.text)["users"] == 1
