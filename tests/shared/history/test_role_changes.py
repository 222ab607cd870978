"""Failover behind one address that leaves the connections to the demoted server open."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from retort.shared.base.errors import StoreError
from retort.shared.history import role_changes
from retort.shared.history.redis_clients import open_client
from retort.shared.history.redis_history import RedisHistory
from retort.shared.history.store import HistoryEvent, Owner
from tests.faults._redis import HurtableRedis, Proxy

ANN = Owner("ann")


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[HurtableRedis]]:
    """Two servers; the second will be the new primary."""
    started = [HurtableRedis(tmp_path), HurtableRedis(tmp_path)]
    for server in started:
        server.start()
    yield started
    for server in started:
        server.kill()


@pytest.fixture
def address(servers: list[HurtableRedis], monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    monkeypatch.setattr(role_changes, "_SETTLED_S", 0.05)
    proxy = Proxy(servers[0].port)
    yield proxy
    proxy.close()


def fail_over(servers: list[HurtableRedis], address: Proxy | None) -> None:
    """Demote the first server; its connections stay open."""
    old, new = servers
    with old.client() as client:
        client.replicaof("127.0.0.1", str(new.port))
    if address is not None:
        address.dial(new.port)
    time.sleep(0.06)


def test_events_are_accepted_after_one_refusal_on_any_connection(servers: list[HurtableRedis], address: Proxy) -> None:
    async def append(store: RedisHistory, number: int) -> bool:
        try:
            return await store.append([HistoryEvent(ANN, f"i{number}", number, f"e{number}")]) == 1
        except StoreError:
            return False

    async def story() -> None:
        store = RedisHistory.from_url(address.url, timeout_s=5)
        assert all(await asyncio.gather(*(append(store, number) for number in range(12))))
        fail_over(servers, address)
        refused = [not await append(store, 100)]
        accepted = await asyncio.gather(*(append(store, number) for number in range(200, 212)))
        assert refused == [True]
        assert all(accepted), "every connection of the pool is opened again"
        await store.close()

    asyncio.run(story())


def test_an_address_that_changes_later_than_the_role_is_followed_too(
    servers: list[HurtableRedis], address: Proxy
) -> None:
    async def story() -> None:
        store = RedisHistory.from_url(address.url, timeout_s=5)
        event = HistoryEvent(ANN, "i1", 1, "e1")
        await store.append([event])
        fail_over(servers, None)
        for _ in range(3):
            with pytest.raises(StoreError, match="read only replica"):
                await store.append([event])
        address.dial(servers[1].port)
        time.sleep(0.06)
        with pytest.raises(StoreError, match="read only replica"):
            await store.append([event])
        await store.append([event])
        await store.close()

    asyncio.run(story())


def test_a_blocking_client_follows_too(servers: list[HurtableRedis], address: Proxy) -> None:
    with open_client(address.url, timeout_s=5) as client:
        client.set("a", 1)
        fail_over(servers, address)
        with pytest.raises(RedisError, match="read only replica"):
            client.set("a", 2)
        client.set("a", 3)
        with servers[1].client() as new:
            assert new.get("a") == b"3"


def test_a_refusal_inside_a_script_or_a_pipeline_counts(servers: list[HurtableRedis], address: Proxy) -> None:
    with open_client(address.url, timeout_s=5) as client:
        client.ping()
        fail_over(servers, address)
        replies = client.pipeline(transaction=False).get("a").set("a", 2).execute(raise_on_error=False)
        assert isinstance(replies[1], RedisError)
        assert client.set("a", 3)
        fail_over(servers[::-1], None)
        with servers[0].client() as old:
            old.replicaof("NO", "ONE")
        address.dial(servers[0].port)
        with pytest.raises(RedisError, match="read only replica"):
            client.eval("return redis.call('SET', KEYS[1], 4)", 1, "a")
        assert client.eval("return redis.call('SET', KEYS[1], 5)", 1, "a")
