"""Refreshes of items: what is new or has changed is described by workers, under the same leases and budgets."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine

from retort.offline.cli.refresh import start_by_beat, start_items_from_recipe
from retort.offline.common.database import migrate_and_open
from retort.offline.data.interactions import Items
from retort.offline.knowledge.config import KnowledgeConfig
from retort.offline.knowledge.store import KnowledgeStore
from retort.offline.profiles.backends._base import Prompt, Reply
from retort.offline.refresh.items import NoItemDueError, find_due_items, open_item_snapshot
from retort.offline.refresh.jobs import dead_letters
from retort.offline.refresh.requests import prepare_requested
from retort.offline.refresh.start import start_item_refresh
from retort.offline.refresh.worker import RefreshWorker
from retort.shared.base.errors import KnowledgeError
from retort.shared.base.settings import Settings
from retort.shared.knowledge.item_knowledge import correct_knowledge, view_knowledge
from retort.shared.profiles.refreshes import RefreshBusyError, read_job, request_refresh
from tests.offline.knowledge._fakes import answer_all, config, shop
from tests.offline.profiles._fakes import NO_SERVER, ScriptedBackend
from tests.offline.refresh._factory import QUICK

CONFIG = config(options={"model": "scripted"}, chunk_items=5, items_per_call=2)


def _worker(engine: Engine, backend: ScriptedBackend) -> RefreshWorker:
    return RefreshWorker(engine, NO_SERVER, QUICK, open_item_backend=lambda *_: backend)


def _good() -> ScriptedBackend:
    return ScriptedBackend(lambda prompt: answer_all(prompt.messages))


def _start(engine: Engine, folder: Path, items: Items, recipe: KnowledgeConfig = CONFIG, **given: Any) -> str:
    return start_item_refresh(engine, "shop (items)", items, recipe, folder, NO_SERVER, **given)


def test_workers_describe_all_items_chunk_by_chunk(engine: Engine, tmp_path: Path) -> None:
    job_id, backend = _start(engine, tmp_path, shop(12)), _good()
    with pytest.raises(RefreshBusyError, match="still pending"):
        _start(engine, tmp_path, shop(12))
    worker = _worker(engine, backend)
    assert worker.work_on() == 3
    status = read_job(engine, job_id)
    assert (status.status, status.users_done, status.written) == ("done", 12, 12)
    assert view_knowledge(engine, "B0011").text
    worker.close()
    assert backend.closed


def test_only_new_and_changed_items_are_due(engine: Engine, tmp_path: Path) -> None:
    _start(engine, tmp_path, shop(6))
    _worker(engine, _good()).work_on()
    with pytest.raises(NoItemDueError, match="every item has a text"):
        _start(engine, tmp_path, shop(6))
    changed = Items(shop(9).frame.with_columns(pl.col("title").replace("Essie Wonder0 Nail Lacquer", "Essie Towel")))
    store = KnowledgeStore(engine)
    assert find_due_items(store, changed, CONFIG, NO_SERVER) == ["B0000", "B0006", "B0007", "B0008"]
    correct_knowledge(engine, "B0007", None)
    assert "B0007" not in find_due_items(store, changed, CONFIG, NO_SERVER)
    backend = _good()
    _start(engine, tmp_path, changed)
    _worker(engine, backend).work_on()
    assert {item_id for prompt in backend.asked for item_id in prompt.parts} == {"B0000", "B0006", "B0008"}


def test_a_budget_stops_the_refresh_and_items_are_kept(engine: Engine, tmp_path: Path) -> None:
    job_id = _start(engine, tmp_path, shop(12), budget=(25, None))
    _worker(engine, _good()).work_on()
    status = read_job(engine, job_id)
    assert status.status == "stopped"
    assert 0 < status.written < 12


def test_a_server_that_is_down_leaves_dead_letters_with_the_items(engine: Engine, tmp_path: Path) -> None:
    def away(_prompt: Prompt) -> Reply:
        return Reply("", error="no answer", final=True, unanswered=True)

    job_id = _start(engine, tmp_path, shop(5), config(options={"model": "scripted"}, chunk_items=5))
    _worker(engine, ScriptedBackend(away)).work_on()
    status = read_job(engine, job_id)
    assert status.status == "failed"
    (dead,) = dead_letters(engine, job_id)
    assert dead.user_ids == ("B0000", "B0001", "B0002", "B0003", "B0004")
    assert "item text" in dead.error


def test_a_recipe_that_reads_a_file_has_nothing_to_refresh(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(KnowledgeError, match=r"requires a model.*knowledge.backend=openai"):
        _start(engine, tmp_path, shop(3), KnowledgeConfig())


def test_a_snapshot_of_another_machine_or_format_says_so(tmp_path: Path) -> None:
    with pytest.raises(KnowledgeError, match="give every worker the same directory"):
        open_item_snapshot(tmp_path)
    (tmp_path / "snapshot.json").write_text(json.dumps({"format": 9}))
    with pytest.raises(KnowledgeError, match="format 9, not 1"):
        open_item_snapshot(tmp_path)


def test_a_request_over_http_describes_items_that_are_new_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETORT_HOME", str(tmp_path / "home"))
    rows = ["item_id,title,brand,category\n", *(f"i{n},Thing {n},X,Kind {n % 3}\n" for n in range(6))]
    (tmp_path / "items.csv").write_text("".join(rows[:5]))
    (tmp_path / "interactions.csv").write_text("user_id,item_id\n" + "".join(f"u{n % 2},i{n}\n" for n in range(4)))
    recipe = tmp_path / "shop.toml"
    recipe.write_text(
        '[data]\nsource = "table"\nkeep_unseen_items = true\noptions = {items = "items.csv"}\n'
        '[knowledge]\nbackend = "template"\n'
    )
    start_items_from_recipe(str(recipe), tmp_path, tmp_path / "runs", [])
    engine = migrate_and_open(Settings())
    worker = RefreshWorker(engine, NO_SERVER, QUICK)
    assert worker.work_on() == 1
    (tmp_path / "items.csv").write_text("".join(rows))
    job_id = request_refresh(engine, "shop (items)", {"policy": "all", "rules": {}})
    assert prepare_requested(engine) == 1
    assert worker.work_on() == 1
    assert read_job(engine, job_id).written >= 2
    assert view_knowledge(engine, "i5").text == "Kind 2, X"


def test_beat_starts_refreshes_of_items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    monkeypatch.setattr("retort.offline.cli.refresh.start_items_from_recipe", lambda *what: started.append(what))
    message = {"recipe": "shop", "data": None, "out": str(tmp_path), "overrides": [], "policy": "all", "rules": []}
    start_by_beat(message | {"items": True})
    assert started == [("shop", None, tmp_path, [])]
