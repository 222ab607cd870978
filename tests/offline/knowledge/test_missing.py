"""Items without a text: the report, and what a rerun, a run and a refresh ask about again."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from retort.offline.cli.main import app
from retort.offline.common.progress import Silent
from retort.offline.knowledge.missing import NOT_ASKED, find_missing
from retort.offline.knowledge.store import KnowledgeStore
from retort.offline.pipeline.build import make_pipeline
from retort.offline.pipeline.context import RunContext, load_items, load_tables
from retort.offline.pipeline.dag import Pipeline
from retort.offline.pipeline.outcome import complete_steps
from retort.offline.recipes.recipe import parse_recipe
from retort.offline.refresh.items import find_due_items
from retort.shared.base.settings import LanguageModelSettings
from retort.shared.db.migrate import upgrade
from retort.shared.db.session import open_database
from tests.offline.knowledge._fakes import SHOP_RECIPE, answer_all, lacquers, records_of, write_shop
from tests.offline.profiles._server import Answer, FakeServer, completion, serving

N_ITEMS = 12
LOOP = "shine " * 30


class Model:
    """Describes items; what it is told to refuse, it refuses."""

    def __init__(self) -> None:
        self.refused = {"B0003", "B0005"}
        self.down = False

    def answer(self, _number: int, body: dict[str, Any]) -> Answer:
        if self.down:
            return 500, {"error": {"message": "the model is reloading"}}, {}
        reply = json.loads(answer_all(body["messages"]))
        for entry in reply["items"]:
            if entry["id"] in self.refused:
                entry |= {"type": LOOP, "properties": [], "need": [], "rivals": [], "goes_with": [], "next": []}
        return completion(json.dumps(reply))


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def server(model: Model) -> Iterator[FakeServer]:
    with serving(model.answer) as fake:
        yield fake


@pytest.fixture
def shop_dir(tmp_path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RETORT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/retort.db")
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    upgrade(f"sqlite:///{tmp_path}/retort.db")
    write_shop(tmp_path / "data", lacquers(N_ITEMS))
    return tmp_path


def raw(**knowledge: Any) -> dict[str, Any]:
    options = {"model": "m", "concurrency": 1, "retries": 0}
    keys = {"backend": "openai", "domain": "products", "items_per_call": 4, "attempts": 1, "canary": False}
    return {
        "data": {"source": "table", "options": {"items": "items.csv", "position": "timestamp"}},
        "knowledge": {**keys, "options": options, **knowledge},
    }


def pipeline(folder: Path, server: FakeServer, **knowledge: Any) -> Pipeline[RunContext]:
    settings = LanguageModelSettings(_env_file=None, openai_base_url=server.url)  # type: ignore[call-arg]
    engine = open_database(f"sqlite:///{folder}/retort.db")
    context = RunContext(parse_recipe("shop", raw(**knowledge)), folder / "data", engine, settings, Silent())
    return make_pipeline(context, folder / "runs")


def asked(server: FakeServer, since: int) -> list[list[str]]:
    return [[record["id"] for record in records_of(body["messages"])] for body in server.bodies[since:]]


def texts(made: Pipeline[RunContext]) -> int:
    return load_items(made).knowledge.count()


def test_a_run_asks_again_about_what_failed_and_only_about_it(shop_dir: Path, server: FakeServer, model: Model) -> None:
    first = pipeline(shop_dir, server)
    assert texts(first) == N_ITEMS - 2
    n_first = len(server.bodies)
    complete_steps([first])
    assert len(server.bodies) == n_first, "one process asks once"

    unchanged = pipeline(shop_dir, server)
    complete_steps([unchanged, pipeline(shop_dir, server)])
    assert asked(server, n_first) == [["B0003"], ["B0005"]], "each alone, and once for both arms of a run"
    assert unchanged.ensure("knowledge").output == first.ensure("knowledge").output, "what follows is not run again"

    model.refused = {"B0005"}
    better = pipeline(shop_dir, server)
    complete_steps([better])
    assert texts(better) == N_ITEMS - 1
    assert better.ensure("knowledge").output != first.ensure("knowledge").output
    n_asked, model.refused = len(server.bodies), set()
    assert texts(pipeline(shop_dir, server)) == N_ITEMS - 1, "a step of another run reads what is finished"
    assert len(server.bodies) == n_asked
    complete_steps([pipeline(shop_dir, server)])
    assert asked(server, n_asked) == [["B0005"]]
    complete_steps([pipeline(shop_dir, server)])
    assert len(server.bodies) == n_asked + 1, "nothing is missing any more"


def test_a_server_that_is_down_does_not_stop_a_run_whose_texts_are_there(
    shop_dir: Path, server: FakeServer, model: Model
) -> None:
    texts(pipeline(shop_dir, server, max_failed=0.4))
    model.down = True
    later = pipeline(shop_dir, server, max_failed=0.4)
    complete_steps([later])
    assert texts(later) == N_ITEMS - 2


def test_without_retries_a_run_only_reads_what_a_refresh_wrote(
    shop_dir: Path, server: FakeServer, model: Model
) -> None:
    assert texts(pipeline(shop_dir, server, retry_failed=False)) == N_ITEMS - 2
    n_asked = len(server.bodies)
    complete_steps([pipeline(shop_dir, server, retry_failed=False)])
    assert len(server.bodies) == n_asked
    model.refused = set()
    complete_steps([pipeline(shop_dir, server)])  # the same texts, by a recipe that asks again
    later = pipeline(shop_dir, server, retry_failed=False)
    complete_steps([later])
    assert texts(later) == N_ITEMS


def test_missing_items_are_due_and_reported_with_their_reasons(
    shop_dir: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pipeline(shop_dir, server)
    items, config, settings = load_tables(made).items, made.context.recipe.knowledge, made.context.language_model
    store = KnowledgeStore(made.context.engine)
    assert {item.reason for item in find_missing(items, config, store, settings)} == {NOT_ASKED}
    texts(made)
    missing = find_missing(items, config, store, settings)
    assert [(item.item_id, item.reason) for item in missing] == [
        ("B0003", "repeats itself"),
        ("B0005", "repeats itself"),
    ]
    assert find_due_items(store, items, config, settings) == ["B0003", "B0005"]
    kept = config.model_copy(update={"retry_failed": False})
    assert find_due_items(store, items, kept, settings) == []

    (shop_dir / "shop.toml").write_text(f'{SHOP_RECIPE}[knowledge.options]\nmodel = "m"\n')
    paths = ["--data", str(shop_dir / "data"), "--out", str(shop_dir / "runs"), "--to", str(shop_dir / "missing.csv")]
    said = CliRunner().invoke(app, ["items", "knowledge", "report", str(shop_dir / "shop.toml"), *paths])
    assert said.exit_code == 0, said.output
    assert "10 of 12 items have a text" in said.output
    assert "2 are missing" in said.output
    assert "repeats itself" in said.output
    rows = list(csv.DictReader((shop_dir / "missing.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["item_id"] for row in rows] == ["B0003", "B0005"]
