"""Contract of every history store."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retort.shared.base.errors import StoreError
from retort.shared.history import keys
from retort.shared.history.history_load import load_histories
from retort.shared.history.redis_history import RedisHistory
from retort.shared.history.store import (
    RECOGNISED_EVENTS,
    HistoryEvent,
    HistoryStore,
    MemoryHistory,
    Owner,
    Written,
    scored_members,
)

ANN = Owner("ann")
BOB = Owner("bob")
MakeStore = Callable[..., HistoryStore]


def event(item_id: str, time_ms: int, event_id: str | None = None, owner: Owner = ANN) -> HistoryEvent:
    return HistoryEvent(owner, item_id, time_ms, event_id or f"{item_id}-{time_ms}")


@pytest.fixture(params=["memory", "redis", "cluster"])
def make_store(request: pytest.FixtureRequest) -> MakeStore:
    if request.param == "memory":
        return MemoryHistory
    url = request.getfixturevalue("redis_url" if request.param == "redis" else "cluster_url")
    return lambda **options: RedisHistory.from_url(url, **options)


def using(store: HistoryStore, story: Callable[[HistoryStore], Awaitable[None]]) -> None:
    """Run the story in a loop of its own and close the store."""

    async def whole() -> None:
        try:
            await story(store)
        finally:
            await store.close()

    asyncio.run(whole())


def test_forgetting_up_to_a_moment_leaves_what_came_after(make_store: MakeStore) -> None:
    async def story(store: HistoryStore) -> None:
        await store.append([event("a", 5), event("b", 10), event("c", 10), event("d", 11)])
        assert await store.forget(ANN, 10) == 3
        assert await store.recent([ANN], 9) == [["d"]]
        assert await store.forget(ANN, 10) == 0
        assert await store.forget(ANN, 11) == 1
        assert await store.recent([ANN], 9) == [[]]

    using(make_store(), story)


def test_strangers_have_an_empty_history(make_store: MakeStore) -> None:
    async def story(store: HistoryStore) -> None:
        assert await store.recent([ANN, BOB], 10) == [[], []]
        assert await store.recent([], 10) == []
        assert await store.entries(ANN) == []
        assert await store.forget(ANN) == 0
        assert await store.append([]) == 0

    using(make_store(), story)


def test_many_users_are_read_at_once_oldest_first(make_store: MakeStore) -> None:
    async def story(store: HistoryStore) -> None:
        assert await store.append([event("a", 1), event("b", 2), event("x", 1, owner=BOB)]) == 3
        assert await store.recent([BOB, Owner("nobody"), ANN], 10) == [["x"], [], ["a", "b"]]
        assert await store.recent([ANN], 1) == [["b"]]

    using(make_store(), story)


def test_late_and_out_of_order_events_find_their_place(make_store: MakeStore) -> None:
    async def story(store: HistoryStore) -> None:
        await store.append([event("c", 30), event("a", 10)])
        await store.append([event("b", 20)])
        assert await store.recent([ANN], 10) == [["a", "b", "c"]]
        assert [tuple(entry) for entry in await store.entries(ANN)] == [("a", 10), ("b", 20), ("c", 30)]

    using(make_store(), story)


def test_an_event_counts_once_even_with_another_clock_reading(make_store: MakeStore) -> None:
    async def story(store: HistoryStore) -> None:
        assert await store.append([event("a", 10, "e1"), event("a", 10, "e1")]) == 1
        assert await store.append([event("a", 99, "e1"), event("b", 50, "e2")]) == 1
        assert await store.recent([ANN], 10) == [["a", "b"]]
        assert await store.append([event("a", 60, "e3")]) == 1
        assert await store.recent([ANN], 10) == [["a", "b", "a"]]

    using(make_store(), story)


def test_an_event_id_counts_once_whatever_item_it_comes_with(make_store: MakeStore) -> None:
    async def story(store: HistoryStore) -> None:
        assert await store.append_by_owner([event("a", 10, "e1"), event("b", 11, "e1")]) == {ANN: Written(1, 1)}
        sent = [event("c", 12, "e1"), event("a", 13, "e1"), event("c", 14, "e2"), event("c", 1, "e1", owner=BOB)]
        assert await store.append_by_owner(sent) == {ANN: Written(1, 1), BOB: Written(1, 0)}
        assert await store.recent([ANN, BOB], 10) == [["a", "c"], ["c"]]

    using(make_store(), story)


def test_events_of_one_millisecond_keep_the_given_order(make_store: MakeStore) -> None:
    names = ["z", "m", "a", "k", "b"]

    async def story(store: HistoryStore) -> None:
        now_ms = 1_790_000_000_000
        await store.append([event(name, now_ms) for name in names])
        assert await store.recent([ANN], 10) == [names]
        assert {entry.time_ms for entry in await store.entries(ANN)} == {now_ms}

    using(make_store(), story)


def test_only_the_newest_are_kept(make_store: MakeStore) -> None:
    async def story(store: HistoryStore) -> None:
        await store.append([event(str(n), n) for n in range(10)])
        assert await store.recent([ANN], 100) == [["7", "8", "9"]]
        await store.append([event("late", 1)])
        assert await store.recent([ANN], 100) == [["7", "8", "9"]]

    using(make_store(max_events=3), story)


def test_a_quiet_history_expires_and_a_new_event_renews_it(make_store: MakeStore) -> None:
    async def story(store: HistoryStore) -> None:
        await store.append([event("a", 1)])
        await asyncio.sleep(0.7)
        await store.append([event("b", 2)])
        await asyncio.sleep(0.7)
        assert await store.recent([ANN], 10) == [["a", "b"]]
        await asyncio.sleep(0.6)
        assert await store.recent([ANN], 10) == [[]]

    using(make_store(ttl_s=1), story)


def test_forgetting_deletes_one_owner_only(make_store: MakeStore) -> None:
    async def story(store: HistoryStore) -> None:
        await store.append([event("a", 1), event("b", 2), event("x", 1, owner=BOB)])
        assert await store.forget(ANN) == 2
        assert await store.recent([ANN, BOB], 10) == [[], ["x"]]

    using(make_store(), story)


def test_a_session_merges_into_a_user_once(make_store: MakeStore) -> None:
    session = Owner("s-1", kind="session")

    async def story(store: HistoryStore) -> None:
        await store.append([event("a", 1), event("s", 2, owner=session), event("c", 3)])
        assert await store.merge(session, ANN) == 1
        assert await store.merge(session, ANN) == 0
        assert await store.merge(ANN, ANN) == 0
        assert await store.recent([ANN, session], 10) == [["a", "s", "c"], []]

    using(make_store(), story)


def test_an_event_id_of_the_guest_and_of_the_user_counts_once(make_store: MakeStore) -> None:
    guest = Owner("s-1", kind="session")

    async def story(store: HistoryStore) -> None:
        await store.append([event("own", 5, "order-17"), *(event(f"i{n}", 10 + n) for n in range(RECOGNISED_EVENTS))])
        sent = [event("other", 6, "order-17", guest), event("new", 7, "order-18", guest)]
        await store.append(sent)
        assert await store.merge(guest, ANN) == 1
        held = [entry.item_id for entry in await store.entries(ANN)]
        assert held[:3] == ["own", "new", "i0"], "the user's own event counts, as in the database"
        assert await store.recent([guest], 10) == [[]]

    using(make_store(), story)


def test_merges_in_both_directions_at_once_lose_nothing(make_store: MakeStore) -> None:
    async def story(store: HistoryStore) -> None:
        for number in range(20):
            ann, bob = Owner(f"ann {number}"), Owner(f"bob {number}")
            await store.append([event("both", 1, owner=ann), event("both", 1, owner=bob), event("own", 2, owner=ann)])
            await asyncio.gather(store.merge(ann, bob), store.merge(bob, ann), store.merge(ann, bob))
            left = await store.recent([ann, bob], 10)
            assert {item for items in left for item in items} == {"both", "own"}, (number, left)

    using(make_store(), story)


def test_merges_around_a_ring_at_once_lose_nothing(make_store: MakeStore) -> None:
    async def story(store: HistoryStore) -> None:
        for number in range(10):
            ring = [Owner(f"{name} {number}") for name in "abc"]
            await store.append([event("all", 1, owner=owner) for owner in ring])
            await asyncio.gather(*(store.merge(owner, ring[place - 2]) for place, owner in enumerate(ring)))
            assert any(await store.recent(ring, 10)), number

    using(make_store(), story)


def test_one_guest_merged_into_two_users_at_once_goes_to_one_of_them(make_store: MakeStore) -> None:
    async def story(store: HistoryStore) -> None:
        for number in range(20):
            guest, ann, bob = (
                Owner(f"guest {number}", kind="session"),
                Owner(f"ann {number}"),
                Owner(f"bob {number}"),
            )
            await store.append([event("seen", 1, owner=guest)])
            order: list[str] = []

            async def record(name: str, order: list[str] = order) -> None:
                order.append(name)

            moved = await asyncio.gather(
                store.merge(guest, ann, lambda: record("ann")), store.merge(guest, bob, lambda: record("bob"))
            )
            assert sorted(moved) == [0, 1]
            left = dict(zip(("ann", "bob"), await store.recent([ann, bob], 10), strict=True))
            assert left[order[0]] == ["seen"], "the first one that was recorded has the events"
            assert left[order[1]] == []
            assert await store.recent([guest], 10) == [[]]

    using(make_store(), story)


def test_a_merge_brings_back_no_event_from_before_an_erasure(make_store: MakeStore) -> None:
    guest = Owner("s-1", kind="session")

    async def story(store: HistoryStore) -> None:
        await store.append([event("old", 5, owner=guest), event("new", 6, owner=guest)])

        async def erased_until() -> int:
            return 5

        assert await store.merge(guest, ANN, None, erased_until) == 1
        assert await store.recent([ANN, guest], 10) == [["new"], []]

    using(make_store(), story)


def test_a_merge_moves_events_from_before_1970(make_store: MakeStore) -> None:
    guest = Owner("s-1", kind="session")

    async def story(store: HistoryStore) -> None:
        await store.append([event("early", -5000, owner=guest), event("late", 6, owner=guest)])
        assert await store.merge(guest, ANN) == 2
        assert await store.recent([ANN, guest], 10) == [["early", "late"], []]

    using(make_store(), story)


def test_an_erasure_waits_for_a_merge_that_has_read_the_events(redis_url: str) -> None:
    session, store = Owner("s-1", kind="session"), RedisHistory.from_url(redis_url)

    async def story(_: HistoryStore) -> None:
        await store.append([event("s", 2, owner=session)])
        erasure: asyncio.Task[int] | None = None

        async def erase_meanwhile() -> int:
            nonlocal erasure
            erasure = asyncio.create_task(store.forget(ANN, 9))
            await asyncio.sleep(0.05)
            return -1

        assert await store.merge(session, ANN, None, erase_meanwhile) == 1
        assert erasure is not None
        assert await erasure == 1
        assert await store.recent([ANN, session], 10) == [[], []]

    using(store, story)


def test_an_erasure_is_possible_while_the_memory_is_full(redis_url: str) -> None:
    store = RedisHistory.from_url(redis_url)

    async def story(_: HistoryStore) -> None:
        await store.append([event("a", 2)])
        await store.client.config_set("maxmemory", 1)
        try:
            assert await store.forget(ANN, 9) == 1
        finally:
            await store.client.config_set("maxmemory", 0)

    using(store, story)


def test_a_merge_whose_lock_has_expired_deletes_nothing(redis_url: str) -> None:
    session, store = Owner("s-1", kind="session"), RedisHistory.from_url(redis_url)

    async def story(_: HistoryStore) -> None:
        await store.append([event("s", 2, owner=session)])

        async def expire() -> None:
            await store.client.delete(keys.merge_lock(session.key))

        with pytest.raises(StoreError, match="send it again"):
            await store.merge(session, ANN, expire)
        assert await store.recent([ANN, session], 10) == [["s"], ["s"]]
        assert await store.merge(session, ANN) == 0
        assert await store.recent([ANN, session], 10) == [["s"], []]

    using(store, story)


def test_a_merge_that_cannot_be_recorded_is_repeated_whole(redis_url: str) -> None:
    session, store = Owner("s-1", kind="session"), RedisHistory.from_url(redis_url)

    async def story(_: HistoryStore) -> None:
        await store.append([event("s", 2, owner=session)])

        async def fail() -> None:
            raise StoreError("the stream is full")

        with pytest.raises(StoreError, match="stream"):
            await store.merge(session, ANN, fail)
        assert await store.recent([session], 10) == [["s"]]

    using(store, story)


def test_a_merge_into_a_full_redis_loses_nothing(redis_url: str) -> None:
    session = Owner("s-1", kind="session")
    store = RedisHistory.from_url(redis_url)

    async def story(_: HistoryStore) -> None:
        await store.append([event("s", 2, owner=session)])
        await store.client.config_set("maxmemory", 1)
        try:
            with pytest.raises(StoreError):
                await store.merge(session, ANN)
            assert await store.recent([ANN, session], 10) == [[], ["s"]]
        finally:
            await store.client.config_set("maxmemory", 0)
        assert await store.merge(session, ANN) == 1
        assert await store.recent([ANN, session], 10) == [["s"], []]

    using(store, story)


def test_tenants_and_kinds_never_meet(make_store: MakeStore) -> None:
    owners = [Owner("u"), Owner("u", "other"), Owner("u", kind="session"), Owner("other:u")]

    async def story(store: HistoryStore) -> None:
        await store.append([event(str(n), 1, owner=owner) for n, owner in enumerate(owners)])
        assert await store.recent(owners, 10) == [["0"], ["1"], ["2"], ["3"]]

    using(make_store(), story)


def test_any_id_survives_the_journey(make_store: MakeStore) -> None:
    names = ["ключ", "a b", "{x}", "a\x1fb", "🎬", "-1"]

    async def story(store: HistoryStore) -> None:
        owner = Owner("имя {}:\n")
        await store.append([event(name, n, owner=owner) for n, name in enumerate(names)])
        assert await store.recent([owner], 10) == [names]

    using(make_store(), story)


def test_a_history_is_decoded_again_after_every_change_and_only_then(redis_url: str) -> None:
    """Decoded histories are found by their whole content, so an append, a merge or an erasure needs no invalidation."""
    store, writer = RedisHistory.from_url(redis_url), RedisHistory.from_url(redis_url)

    async def read() -> object:
        return (await store.recent_with_commands([ANN], 50, ()))[0][0]

    async def story(_: HistoryStore) -> None:
        await writer.append([event("a", 1), event("b", 2)])
        first = await read()
        assert first == ["a", "b"]
        assert await read() is first
        await writer.append([event("c", 3)])
        assert await read() == ["a", "b", "c"]
        await writer.append([event("d", 4, owner=BOB)])
        await writer.merge(BOB, ANN)
        assert await read() == ["a", "b", "c", "d"]
        await writer.forget(ANN, 2)
        assert await read() == ["c", "d"]
        await writer.forget(ANN)
        assert await read() == []
        await writer.append([event("a", 1), event("b", 2)])
        assert await read() == first
        await writer.close()

    using(store, story)


def test_a_key_of_another_type_concerns_its_owner_alone(redis_url: str) -> None:
    store, cat = RedisHistory.from_url(redis_url), Owner("cat")

    async def story(_: HistoryStore) -> None:
        await store.append([event("a", 1), event("b", 2, owner=BOB)])
        await store.client.set(cat.key, "of another program")
        rows, replies = await store.recent_with_commands([ANN, cat, BOB], 5, [("GET", cat.key), ("GET", ANN.key)])
        assert [rows[0], rows[2]] == [["a"], ["b"]]
        assert isinstance(rows[1], StoreError)
        assert "delete the key" in str(rows[1])
        assert replies[0] == b"of another program"
        with pytest.raises(StoreError, match="WRONGTYPE"):
            await store.recent([cat], 5)
        written = await store.append_by_owner([event("c", 3), event("c", 3, owner=cat), event("c", 3, owner=BOB)])
        assert [written[ANN], written[BOB]] == [Written(1), Written(1)]
        assert "delete the key" in str(written[cat])
        assert await store.forget(cat, 10) == 0, "an erasure deletes it"
        assert await store.append([event("c", 3, owner=cat)]) == 1

    using(store, story)


def test_loading_recognises_events_that_came_with_ids_of_their_own(redis_url: str) -> None:
    store = RedisHistory.from_url(redis_url)

    async def story(_: HistoryStore) -> None:
        await store.append([event("a", 5, "order-17"), event("a", 9, "order-18")])
        for _ in range(2):
            assert load_histories(redis_url, [("ann", [("a", 5), ("b", 6), ("a", 9), ("a", 10)])]) == 1
        assert await store.recent([ANN], 10) == [["a", "b", "a", "a"]]

    using(store, story)


def test_a_dead_redis_is_a_store_error() -> None:
    async def story(store: HistoryStore) -> None:
        for call in (store.ping(), store.recent([ANN], 1), store.append([event("a", 1)]), store.forget(ANN)):
            with pytest.raises(StoreError, match="REDIS_URL"):
                await call

    using(RedisHistory.from_url("redis://127.0.0.1:1", timeout_s=0.2), story)


def test_bulk_loading_keeps_order_and_repeats_safely(redis_url: str) -> None:
    told: list[int] = []
    histories = [("ann", [("z", 5), ("a", 5), ("b", 6)]), ("bob", []), ("cat", [(str(n), n) for n in range(9)])]
    for _ in range(2):
        assert load_histories(redis_url, histories, max_events=4, users_per_trip=2, loaded=told.append) == 3
    assert told == [2, 1, 2, 1]

    async def story(store: HistoryStore) -> None:
        assert await store.recent([ANN, BOB, Owner("cat")], 10) == [["z", "a", "b"], [], ["5", "6", "7", "8"]]

    using(RedisHistory.from_url(redis_url), story)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2**41)), max_size=30))
def test_scores_sort_by_time_and_then_by_arrival(pairs: list[tuple[str, int]]) -> None:
    events = [(item, ms, f"e{n}") for n, (item, ms) in enumerate(pairs)]
    scores = scored_members(events)
    assert len(scores) == len(events)
    in_order = sorted(scores, key=lambda name: scores[name])
    expected = [n for n, _ in sorted(enumerate(pairs), key=lambda pair: pair[1][1])]
    position = {name: n for n, name in enumerate(scores)}
    assert [position[name] for name in in_order] == expected


def test_users_with_a_history_are_listed_within_a_limit(make_store: MakeStore) -> None:
    async def story(store: HistoryStore) -> None:
        assert await store.user_ids("default", 10, 5.0) == ([], True)
        owners = [Owner(name) for name in ("ann", "bob", "a:{b}*")]
        others = [Owner("eve", "other"), Owner("session-1", kind="session")]
        await store.append([event("a", 5, owner=owner) for owner in (*owners, *others)])
        found, is_complete = await store.user_ids("default", 3, 5.0)
        assert (sorted(found), is_complete) == (["a:{b}*", "ann", "bob"], True)
        found, is_complete = await store.user_ids("default", 2, 5.0)
        assert (len(found), is_complete) == (2, False)
        assert set(found) <= {"a:{b}*", "ann", "bob"}

    using(make_store(), story)
