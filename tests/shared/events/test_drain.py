"""No accepted event is lost on its way to the database."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import orjson
import pytest
import redis

from retort.shared.base.errors import StoreError
from retort.shared.events.drain import drain, waiting
from retort.shared.events.erasures import KEPT_MS, record_erased_sessions
from retort.shared.events.events import EventWriter, Merge, StreamedEvent
from retort.shared.history import keys
from retort.shared.history.redis_history import RedisHistory


def event(n: int, user_id: str | None = "ann", accepted_ms: int = 1000, session_id: str | None = None) -> StreamedEvent:
    return StreamedEvent(
        event_id=f"e{n}",
        tenant="default",
        item_id=f"i{n}",
        event_type="click",
        weight=1.0,
        time_ms=accepted_ms - 100 + n,
        accepted_ms=accepted_ms,
        user_id=user_id,
        session_id=session_id,
        impressions=("i1", "i2"),
    )


class Kept:
    """A store that remembers; `on_keep` runs before each batch is kept."""

    def __init__(self, on_keep: Callable[[list[StreamedEvent]], None] = lambda batch: None) -> None:
        self.events: list[StreamedEvent] = []
        self.sizes: list[int] = []
        self.forgotten: list[tuple[str, str, int]] = []
        self.sessions: list[tuple[str, str, int]] = []
        self.merged: list[tuple[Merge, int]] = []  # with how many events stood before it
        self._on_keep = on_keep

    def keep(self, events: Sequence[StreamedEvent]) -> None:
        self._on_keep(list(events))
        self.sizes.append(len(events))
        self.events.extend(events)

    def merge(self, merge: Merge, /) -> None:
        self.merged.append((merge, len(self.events)))

    def forget(self, tenant: str, user_id: str, until_ms: int) -> int:
        self.forgotten.append((tenant, user_id, until_ms))
        return 1

    def sessions_of(self, tenant: str, user_id: str) -> list[str]:
        return []

    def forget_session(self, tenant: str, session_id: str, until_ms: int) -> int:
        self.sessions.append((tenant, session_id, until_ms))
        return 1


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
    store = Kept()
    assert drain(redis_url, store, worker="w", batch=10) == 25
    assert store.events == events
    assert store.sizes == [10, 10, 5]
    assert waiting(redis_url) == 0
    assert drain(redis_url, store, worker="w") == 0


def test_a_database_that_is_away_loses_nothing(redis_url: str) -> None:
    add(redis_url, [event(n) for n in range(5)])

    def away(batch: list[StreamedEvent]) -> None:
        raise StoreError("the database is away")

    for _ in range(2):
        with pytest.raises(StoreError, match="away"):
            drain(redis_url, Kept(away), worker="w", batch=2)
    assert waiting(redis_url) == 5
    add(redis_url, [event(5)])
    store = Kept()
    drain(redis_url, store, worker="w", batch=2)
    assert [one.event_id for one in store.events] == [f"e{n}" for n in range(6)]


def test_what_a_dead_worker_took_is_taken_over(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    add(redis_url, [event(n) for n in range(3)])

    def killed(batch: list[StreamedEvent]) -> None:
        raise StoreError("killed")

    with pytest.raises(StoreError):
        drain(redis_url, Kept(killed), worker="dead")
    assert drain(redis_url, Kept(), worker="other") == 0, "it may still be at work"
    monkeypatch.setattr("retort.shared.events.drain._ABANDONED_MS", 0)
    assert drain(redis_url, Kept(), worker="other") == 3
    assert waiting(redis_url) == 0


def test_events_from_before_1970_reach_the_database(redis_url: str) -> None:
    early = replace(event(1), time_ms=-5000)
    add(redis_url, [early])
    store = Kept()
    assert drain(redis_url, store, worker="w") == 1
    assert store.events == [early]


def test_events_of_the_erased_never_reach_the_database(redis_url: str) -> None:
    add(redis_url, [event(0, "ann"), event(1, "bob"), event(2, None), event(3, "ann", accepted_ms=3000)])
    with redis.Redis.from_url(redis_url) as client:
        client.set(keys.erasure("default", "ann"), orjson.dumps({"requested_ms": 2000}))
    store = Kept()
    drain(redis_url, store, worker="w")
    assert [one.event_id for one in store.events] == ["e1", "e2", "e3"]


def test_an_erasure_in_the_middle_of_a_drain_reaches_the_table(redis_url: str) -> None:
    add(redis_url, [event(0, "ann"), event(1, "bob")])

    def erase_now(batch: list[StreamedEvent]) -> None:
        with redis.Redis.from_url(redis_url) as client:
            client.set(keys.erasure("default", "ann"), orjson.dumps({"requested_ms": 2000}))

    store = Kept(erase_now)
    assert drain(redis_url, store, worker="w") == 2
    assert store.forgotten == [("default", "ann", 2000)]


def test_a_session_goes_with_the_user_whom_only_the_stream_named_in_it(redis_url: str) -> None:
    nameless = [event(0, None, session_id="s"), event(2, None, session_id="s"), event(3, None, 3000, "s")]
    add(redis_url, [nameless[0], event(1, "ann", session_id="s"), *nameless[1:], event(4, "ann", 3000, "t")])
    with redis.Redis.from_url(redis_url) as client:
        client.set(keys.erasure("default", "ann"), orjson.dumps({"requested_ms": 2000}))
        client.zadd(keys.session("default", "s"), {"i0\x1fx": 1000, "i3\x1fx": 3000})
        store = Kept()
        drain(redis_url, store, worker="w", batch=2)
        assert client.zrange(keys.session("default", "s"), 0, -1) == [b"i3\x1fx"]
    assert [one.event_id for one in store.events] == ["e0", "e3", "e4"]
    assert store.sessions == [("default", "s", 2000)], "what stood before her name is taken out of the table"


def test_an_erasure_of_a_session_in_the_middle_of_a_drain_reaches_the_table(redis_url: str) -> None:
    add(redis_url, [event(0, None, session_id="s"), event(1, "ann", session_id="t")])

    def erase_now(batch: list[StreamedEvent]) -> None:
        with redis.Redis.from_url(redis_url) as client:
            record_erased_sessions(client, "default", ["s"], 2000)
            client.set(keys.erasure("default", "ann"), orjson.dumps({"requested_ms": 2000}))

    store = Kept(erase_now)
    drain(redis_url, store, worker="w")
    assert store.forgotten == [("default", "ann", 2000)]
    assert sorted(store.sessions) == [("default", "s", 2000), ("default", "t", 2000)]


def test_the_later_erasure_of_a_session_counts_and_old_ones_are_dropped(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        for until_ms in (KEPT_MS, 1, 3):
            record_erased_sessions(client, "default", ["s"], until_ms)
        record_erased_sessions(client, "default", ["t"], KEPT_MS - 5)
        record_erased_sessions(client, "default", ["u"], 2 * KEPT_MS - 2)
        held = {
            name.decode(): int(score) for name, score in client.zrange(keys.erased_sessions(), 0, -1, withscores=True)
        }
    assert held == {"default\x1fs": KEPT_MS, "default\x1fu": 2 * KEPT_MS - 2}


def test_a_merge_keeps_its_place_and_reaches_the_erased_too(redis_url: str) -> None:
    merge = Merge("default", "ann", 1500, guest_session_id="s")

    async def story() -> None:
        store = RedisHistory.from_url(redis_url)
        writer = EventWriter(store.client)
        await writer.add([event(0, None), event(1, "bob")])
        await writer.add_merge(merge)
        await writer.add([event(2, "bob")])
        await store.close()

    asyncio.run(story())
    with redis.Redis.from_url(redis_url) as client:
        client.set(keys.erasure("default", "ann"), orjson.dumps({"requested_ms": 2000}))
    store = Kept()
    assert drain(redis_url, store, worker="w") == 3
    assert store.merged == [(merge, 2)]
    assert store.forgotten == [("default", "ann", 2000)], "what the merge brought goes with the rest"


def test_what_cannot_be_read_stays_and_is_named(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.xadd(keys.event_stream(), {"event": orjson.dumps({"impressions": [], "colour": "red"})})
    with pytest.raises(StoreError, match="another version"):
        drain(redis_url, Kept(), worker="w")
    assert waiting(redis_url) == 1


def test_drainers_leave_no_name_behind(redis_url: str) -> None:
    add(redis_url, [event(0)])
    drain(redis_url, Kept(), worker="w")
    with redis.Redis.from_url(redis_url) as client:
        assert client.xinfo_consumers(keys.event_stream(), "database") == []


def test_an_unavailable_redis_is_reported() -> None:
    for call in (lambda: waiting("redis://127.0.0.1:1"), lambda: drain("redis://127.0.0.1:1", Kept(), worker="w")):
        with pytest.raises(StoreError, match="REDIS_URL"):
            call()
