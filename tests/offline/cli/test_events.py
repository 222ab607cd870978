"""Events from serving's stream to the database and to the data of the next training."""

import asyncio
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from retort.offline.cli.events import drain_events, drain_once, export_events
from retort.offline.common.progress import Silent
from retort.offline.data.load import DataConfig, load_data
from retort.offline.jobs.celery_app import make_app
from retort.offline.jobs.tasks import DRAIN_TASK, register_drain, schedule_drains
from retort.offline.refresh.messages import schedule_refreshes
from retort.shared.base.errors import StoreError
from retort.shared.db import migrate
from retort.shared.db.session import open_database
from retort.shared.events.drain import waiting
from retort.shared.events.events import EventWriter, StreamedEvent
from retort.shared.events.events_table import read_events
from retort.shared.events.exposures import Exposure, ExposureWriter
from retort.shared.history.redis_history import RedisHistory


def add(redis_url: str, *events: StreamedEvent) -> None:
    async def story() -> None:
        store = RedisHistory.from_url(redis_url)
        await EventWriter(store.client).add(events)
        await store.close()

    asyncio.run(story())


def event(n: int, user_id: str | None = "ann", event_type: str = "click") -> StreamedEvent:
    weight = 0.0 if event_type == "impression" else 1.0
    time_ms = 1_700_000_000_000 + n
    return StreamedEvent(f"e{n}", "default", f"i{n}", event_type, weight, time_ms, time_ms, user_id, "s")


@pytest.fixture(autouse=True)
def environment(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HISTORIES_REDIS_URL", redis_url)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'retort.db'}")


def test_events_become_data_of_the_next_training(
    redis_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add(redis_url, *(event(n) for n in range(3)), event(3, None), event(4, "bob", "impression"))
    drain_events(None)
    assert capsys.readouterr().out == "5 events and 0 shown lists were moved to the database\n"
    assert waiting(redis_url) == 0
    assert export_events(tmp_path / "data").startswith("5 events are in")
    named = load_data(DataConfig(source="events"), tmp_path / "data", Silent()).interactions.frame
    assert named.select("user_id", "item_id").rows() == [("ann", "i0"), ("ann", "i1"), ("ann", "i2")]
    options = {"sessions": True, "types": ["click", "impression"]}
    everybody = load_data(DataConfig(source="events", options=options), tmp_path / "data", Silent()).interactions.frame
    assert everybody["user_id"].to_list() == ["ann", "ann", "ann", "bob", "session:s"]


def test_exposures_are_exported_together_with_events(
    redis_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lists = [
        Exposure("r1", "default", 1_700_000_000_000, "student", ("i2", "i1"), 1, "ann", model="shop", version="v1"),
        Exposure("r2", "default", 1_700_000_000_001, "popular", ("i9",), 11, session_id="s", reason="unknown_user"),
        Exposure("r3", "another tenant", 1_700_000_000_002, "student", ("i1",), 1, "ann"),
    ]

    async def show() -> None:
        store = RedisHistory.from_url(redis_url)
        await ExposureWriter(store.client, kept=10).add([lists])
        await store.close()

    asyncio.run(show())
    drain_events(None)
    assert capsys.readouterr().out == "0 events and 3 shown lists were moved to the database\n"
    assert "2 shown lists" in export_events(tmp_path / "data")
    rows = pq.read_table(tmp_path / "data" / "exposures.parquet").to_pylist()
    assert [(row["request_id"], row["item_ids"], row["first_rank"]) for row in rows] == [
        ("r1", ["i2", "i1"], 1),
        ("r2", ["i9"], 11),
    ]
    assert [(row["user_id"], row["session_id"], row["reason"], row["version"]) for row in rows] == [
        ("ann", None, None, "v1"),
        (None, "s", "unknown_user", None),
    ]


def test_the_drain_task_keeps_events_while_the_database_is_unavailable(redis_url: str, tmp_path: Path) -> None:
    add(redis_url, event(0))
    app = make_app(redis_url)
    database_url = f"sqlite:///{tmp_path / 'tables.db'}"
    engine = open_database(database_url)  # without any tables
    register_drain(app, lambda: drain_once(redis_url, engine))
    app.tasks[DRAIN_TASK]()
    assert waiting(redis_url) == 1
    migrate.upgrade(database_url)
    app.tasks[DRAIN_TASK]()
    assert waiting(redis_url) == 0
    assert [row.event_id for rows in read_events(engine) for row in rows] == ["e0"]
    engine.dispose()


def test_beat_schedules_drains_and_refreshes(redis_url: str) -> None:
    app = make_app(redis_url)
    schedule_drains(app, 60.0)
    schedule_refreshes(app, 3600.0, {"recipe": "demo"})
    entries = app.conf.beat_schedule
    assert set(entries) == {"drain events", "refresh demo"}
    assert entries["drain events"]["task"] == DRAIN_TASK
    assert entries["drain events"]["options"] == {"queue": "cpu", "ignore_result": True, "expires": 60.0}


def test_an_unavailable_redis_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HISTORIES_REDIS_URL", "redis://127.0.0.1:1")
    with pytest.raises(StoreError, match="REDIS_URL"):
        drain_events(None)
