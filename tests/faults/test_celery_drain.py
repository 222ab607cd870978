"""The drain by Celery: a real beat sends, a real worker drains, and a broker that was away is found again."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from retort.shared.db.migrate import upgrade
from retort.shared.db.session import open_database
from retort.shared.events.drain import waiting
from retort.shared.events.events import EventWriter, StreamedEvent
from retort.shared.events.events_table import read_events
from retort.shared.history.redis_history import RedisHistory
from tests.faults._redis import HurtableRedis
from tests.faults._retort import retort
from tests.faults._watch import soon


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[HurtableRedis]:
    server = HurtableRedis(tmp_path)
    server.start()
    yield server
    server.kill()


# Two programs start, and each waits for the broker by Celery's own steps of 2, 4, 6 s: half a minute on a busy machine.
@pytest.mark.long
def test_beat_and_worker_drain_on_schedule_and_outlive_the_broker(
    broker: HurtableRedis, redis_url: str, tmp_path: Path
) -> None:
    database_url = f"sqlite:///{tmp_path / 'retort.db'}"
    upgrade(database_url)
    engine = open_database(database_url)
    stores = {"redis_url": broker.url, "histories_redis_url": redis_url, "database_url": database_url}
    with (
        retort(tmp_path, "worker", "--queues", "cpu", **stores),
        retort(tmp_path, "events", "schedule", "--every-s", "1", **stores),
    ):
        for first in (0, 10):
            add(redis_url, range(first, first + 10))
            soon(lambda: waiting(redis_url) == 0, within_s=60)
        broker.kill()
        add(redis_url, range(20, 30))
        assert waiting(redis_url) == 10, "without a broker nobody is sent for, and the events wait"
        broker.start()
        soon(lambda: waiting(redis_url) == 0, within_s=60)
    kept = sorted(row.event_id for rows in read_events(engine) for row in rows)
    assert kept == [f"e{n:02}" for n in range(30)]
    engine.dispose()


def add(redis_url: str, numbers: range) -> None:
    async def story() -> None:
        store = RedisHistory.from_url(redis_url)
        await EventWriter(store.client).add([event(n) for n in numbers])
        await store.close()

    asyncio.run(story())


def event(n: int) -> StreamedEvent:
    time_ms = 1_700_000_000_000 + n
    return StreamedEvent(f"e{n:02}", "default", f"i{n}", "click", 1.0, time_ms, time_ms, "ann", None)
