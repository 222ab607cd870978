"""Nothing accepted is lost on its way to the database."""

import asyncio

import orjson
import pytest
import redis

from shared import keys
from shared.errors import StoreError
from shared.event_stream import EventWriter, StreamedEvent, drain, waiting
from shared.redis_history import RedisHistory


def event(n: int, user_id: str | None = "ann", accepted_ms: int = 1000) -> StreamedEvent:
    return StreamedEvent(
        event_id=f"e{n}",
        tenant="default",
        item_id=f"i{n}",
        event_type="click",
        weight=1.0,
        time_ms=n,
        accepted_ms=accepted_ms,
        user_id=user_id,
        impressions=("i1", "i2"),
    )


def add(redis_url: str, events: list[StreamedEvent]) -> None:
    async def story() -> None:
        store = RedisHistory.from_url(redis_url)
        await EventWriter(store.client).add(events)
        await store.close()

    asyncio.run(story())


def test_events_arrive_whole_in_order_and_leave_the_stream(redis_url: str) -> None:
    events = [event(n) for n in range(25)]
    add(redis_url, events)
    assert waiting(redis_url) == 25
    got: list[StreamedEvent] = []
    sizes: list[int] = []

    def store(batch: list[StreamedEvent]) -> None:
        sizes.append(len(batch))
        got.extend(batch)

    assert drain(redis_url, store, worker="w", batch=10) == 25
    assert got == events
    assert sizes == [10, 10, 5]
    assert waiting(redis_url) == 0
    assert drain(redis_url, store, worker="w") == 0


def test_a_database_that_is_away_loses_nothing(redis_url: str) -> None:
    add(redis_url, [event(n) for n in range(5)])

    def away(batch: list[StreamedEvent]) -> None:
        raise StoreError("the database is away")

    for _ in range(2):
        with pytest.raises(StoreError, match="away"):
            drain(redis_url, away, worker="w", batch=2)
    assert waiting(redis_url) == 5
    add(redis_url, [event(5)])
    got: list[StreamedEvent] = []
    drain(redis_url, got.extend, worker="w", batch=2)
    assert [one.event_id for one in got] == [f"e{n}" for n in range(6)]


def test_what_a_dead_worker_took_is_taken_over(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    add(redis_url, [event(n) for n in range(3)])

    def killed(batch: list[StreamedEvent]) -> None:
        raise StoreError("killed")

    with pytest.raises(StoreError):
        drain(redis_url, killed, worker="dead")
    got: list[StreamedEvent] = []
    assert drain(redis_url, got.extend, worker="other") == 0, "it may still be at work"
    monkeypatch.setattr("shared.event_stream._ABANDONED_MS", 0)
    assert drain(redis_url, got.extend, worker="other") == 3
    assert waiting(redis_url) == 0


def test_events_of_the_erased_never_reach_the_database(redis_url: str) -> None:
    add(redis_url, [event(0, "ann"), event(1, "bob"), event(2, None), event(3, "ann", accepted_ms=3000)])
    with redis.Redis.from_url(redis_url) as client:
        client.set(keys.erasure("default", "ann"), orjson.dumps({"requested_ms": 2000}))
    got: list[StreamedEvent] = []
    drain(redis_url, got.extend, worker="w")
    assert [one.event_id for one in got] == ["e1", "e2", "e3"]


def test_an_absent_redis_is_told() -> None:
    for call in (lambda: waiting("redis://127.0.0.1:1"), lambda: drain("redis://127.0.0.1:1", print, worker="w")):
        with pytest.raises(StoreError, match="REDIS_URL"):
            call()
