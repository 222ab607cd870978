"""Redis Cluster beyond the history contract: many users at once, the stream, and a lost node."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
import redis

from retort.serving.recommend.user_context import HistoryReader
from retort.serving.runtime.circuit_breaker import CircuitBreaker
from retort.serving.runtime.metrics import Metrics
from retort.shared.base.errors import StoreError
from retort.shared.events.drain import drain
from retort.shared.events.events import EventWriter, Merge, StreamedEvent
from retort.shared.history import keys
from retort.shared.history.history_load import load_histories
from retort.shared.history.redis_clients import open_client
from retort.shared.history.redis_history import RedisHistory
from retort.shared.history.store import HistoryEvent, Owner

USERS = [f"user {number}" for number in range(60)]


class _Kept:
    """An event store that remembers."""

    def __init__(self) -> None:
        self.item_ids: list[str] = []

    def keep(self, rows: Sequence[StreamedEvent], /) -> None:
        self.item_ids += [row.item_id for row in rows]

    def merge(self, merge: Merge, /) -> None:
        raise AssertionError("nothing was merged")

    def forget(self, tenant: str, user_id: str, until_ms: int) -> int:
        return 0

    def sessions_of(self, tenant: str, user_id: str) -> list[str]:
        return []

    def forget_session(self, tenant: str, session_id: str, until_ms: int) -> int:
        return 0


def test_a_users_keys_live_on_one_node(cluster_url: str) -> None:
    with open_client(cluster_url, timeout_s=20) as client:
        for user in USERS:
            named = [keys.history("shop", user), keys.erasure("shop", user), keys.themes("shop", user)]
            assert len({client.keyslot(key) for key in named}) == 1


def test_users_of_all_nodes_are_loaded_and_read_at_once(cluster_url: str) -> None:
    assert load_histories(cluster_url, [(user, [("a", 1), (user, 2)]) for user in USERS]) == len(USERS)
    with open_client(cluster_url, timeout_s=20) as client:
        held = [client.dbsize(target_nodes=node) for node in client.get_primaries()]
    assert sum(held) == len(USERS)
    assert min(held) > 0, "some node holds nobody"

    async def read() -> list[list[str]]:
        store = RedisHistory.from_url(cluster_url, timeout_s=20)
        try:
            return await store.recent([Owner(user) for user in USERS], 10)
        finally:
            await store.close()

    assert asyncio.run(read()) == [["a", user] for user in USERS]


def test_the_stream_is_drained_past_those_who_were_erased(cluster_url: str) -> None:
    events = [StreamedEvent(f"e{user}", "default", user, "click", 1.0, 5, 5, user_id=user) for user in USERS]

    async def write() -> None:
        store = RedisHistory.from_url(cluster_url, timeout_s=20)
        try:
            await EventWriter(store.client).add(events, [keys.counted("default", "r", user, "click") for user in USERS])
            await store.client.set(keys.erasure("default", USERS[3]), b'{"requested_ms": 9}')
        finally:
            await store.close()

    asyncio.run(write())
    store = _Kept()
    assert drain(cluster_url, store, worker="one", batch=25) == len(USERS) - 1
    assert sorted(store.item_ids) == sorted(user for user in USERS if user != USERS[3])


def test_a_store_goes_on_when_its_slots_move_to_another_node(cluster_url: str) -> None:
    user = USERS[0]

    async def story() -> list[str]:
        store = RedisHistory.from_url(cluster_url, timeout_s=20)
        try:
            await store.append([HistoryEvent(Owner(user), "before", 1, "e1")])
            await asyncio.to_thread(_fail_over, cluster_url, keys.history("default", user))
            await store.append([HistoryEvent(Owner(user), "after", 2, "e2")])
            return (await store.recent([Owner(user)], 10))[0]
        finally:
            await store.close()

    assert asyncio.run(story()) == ["before", "after"]


def test_connections_that_nodes_have_ended_cost_no_history(cluster_url: str) -> None:
    load_histories(cluster_url, [(user, [("a", 1), (user, 2)]) for user in USERS])

    async def story() -> None:
        store = RedisHistory.from_url(cluster_url, timeout_s=20)
        owners = [Owner(user) for user in USERS]
        await asyncio.gather(*(store.recent(owners, 1) for _ in range(4)))
        with open_client(cluster_url, timeout_s=20) as client:
            for node in client.get_nodes():
                client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes", target_nodes=node)
        await asyncio.sleep(0.1)
        for _ in range(4):
            assert await asyncio.gather(*(store.recent(owners, 1) for _ in range(4))) == [[[u] for u in USERS]] * 4
        await store.close()

    asyncio.run(story())


def test_a_node_that_hangs_takes_only_its_own_users(cluster_url: str) -> None:
    load_histories(cluster_url, [(user, [("a", 1), (user, 2)]) for user in USERS])
    metrics = Metrics()

    async def story() -> tuple[dict[str, bool], dict[str, bool]]:
        store = RedisHistory.from_url(cluster_url, timeout_s=20)
        reader = HistoryReader(
            store, metrics, limit=10, timeout_s=0.3, new_breaker=lambda: CircuitBreaker(3, rest_s=60)
        )
        try:
            await _read_all(reader)
            broken = store.node_of(Owner(USERS[0]).key)
            with _hanging(int(broken.rpartition(":")[2])):
                for _ in range(5):
                    started = time.monotonic()
                    fresh = await _read_all(reader)
                    assert time.monotonic() - started < 1.0
                    assert fresh == {user: store.node_of(Owner(user).key) != broken for user in USERS}
                assert reader.is_degraded
                with pytest.raises(StoreError, match="breaker"):
                    await reader.run_command(("GET", keys.themes("default", USERS[0])))
                healthy = next(user for user in USERS if fresh[user])
                assert await reader.run_command(("GET", keys.themes("default", healthy))) is None
            return fresh, await _read_all(reader)
        finally:
            await store.close()

    during, after = asyncio.run(story())
    assert 0 < sum(during.values()) < len(USERS)
    assert after == during, "the breaker of that node is still open, the others never opened"


def test_without_the_node_of_the_stream_events_are_refused_and_other_users_are_read(cluster_url: str) -> None:
    load_histories(cluster_url, [(user, [("a", 1), (user, 2)]) for user in USERS])
    event = StreamedEvent("e-hang", "default", "i1", "click", 1.0, 5, 5, user_id=USERS[0])

    async def story() -> None:
        store = RedisHistory.from_url(cluster_url, timeout_s=0.6)
        reader = HistoryReader(
            store, Metrics(), limit=10, timeout_s=0.3, new_breaker=lambda: CircuitBreaker(3, rest_s=60)
        )
        writer = EventWriter(store.client, store.run)
        await writer.add([event])
        await _read_all(reader)
        broken = store.node_of(keys.event_stream())
        with _hanging(int(broken.rpartition(":")[2])):
            started = time.monotonic()
            with pytest.raises(StoreError, match="could not be added to the stream"):
                await writer.add([event])
            assert time.monotonic() - started < 2.0
            assert await _read_all(reader) == {user: store.node_of(Owner(user).key) != broken for user in USERS}
        await writer.add([event])
        await store.close()

    asyncio.run(story())


async def _read_all(reader: HistoryReader) -> dict[str, bool]:
    """Whether each user's history came from the store; all are read at the same time."""
    answers = await asyncio.gather(*(reader.read(Owner(user)) for user in USERS))
    return {user: fresh for user, (_, fresh) in zip(USERS, answers, strict=True)}


@contextmanager
def _hanging(port: int) -> Iterator[None]:
    """Stop the process of a node for the time of the block, more shortly than the others take to notice."""
    with redis.Redis(port=port) as client:
        pid = int(client.info("server")["process_id"])
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _fail_over(url: str, key: str) -> None:
    """Let the replica of the key's node take its place, and wait until it has."""
    with open_client(url, timeout_s=20) as client:
        master = client.get_node_from_key(key)
        [[host, port, *_], *_] = redis.Redis(host=master.host, port=master.port).role()[2]
    with redis.Redis(host=host, port=int(port)) as replica:
        replica.execute_command("CLUSTER FAILOVER TAKEOVER")
        until = time.monotonic() + 30
        while replica.role()[0] not in (b"master", "master"):
            assert time.monotonic() < until, "the replica did not take over"
            time.sleep(0.1)
