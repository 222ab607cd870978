"""Reads of histories on a busy machine: what this process loses by standing still is no failure of Redis."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import redis
import uvloop

from retort.serving.api.app import create_app
from retort.serving.recommend.history_connections import open_connections
from retort.serving.recommend.user_context import HistoryReader
from retort.serving.runtime.circuit_breaker import CircuitBreaker
from retort.serving.runtime.metrics import Metrics
from retort.serving.runtime.settings import ServingSettings
from retort.shared.base.settings import Settings
from retort.shared.history.redis_history import RedisHistory
from retort.shared.history.store import Owner

_TIMEOUT_S = 0.2
_STANDSTILL_S = 0.3


def _run(loop: Callable[[], asyncio.AbstractEventLoop], story: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(story)


def _reader(store: RedisHistory) -> HistoryReader:
    breaker = lambda: CircuitBreaker(5, 2.0)  # noqa: E731
    return HistoryReader(store, Metrics(None), limit=10, timeout_s=_TIMEOUT_S, new_breaker=breaker)


def _stand_still_after(turns: int) -> None:
    """Block the event loop after so many of its turns, for longer than a read may take."""
    if turns:
        asyncio.get_running_loop().call_soon(_stand_still_after, turns - 1)
    else:
        time.sleep(_STANDSTILL_S)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("connected", [True, False], ids=["connected", "first read"])
def test_a_standstill_of_this_process_costs_no_history(
    redis_url: str, loop: Callable[[], asyncio.AbstractEventLoop], connected: bool
) -> None:
    async def story() -> None:
        for turns in range(1, 8):
            store = RedisHistory.from_url(redis_url, timeout_s=2 * _TIMEOUT_S)
            reader = _reader(store)
            if connected:
                assert await open_connections(store)
            _stand_still_after(turns)
            assert await reader.read(Owner("ann")) == ([], True), turns
            await store.close()

    _run(loop, story())


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_redis_that_says_nothing_costs_the_timeout(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def story() -> None:
        answered = asyncio.Event()

        async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await answered.wait()
            writer.close()

        silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        store = RedisHistory.from_url(
            f"redis://127.0.0.1:{silent.sockets[0].getsockname()[1]}", timeout_s=2 * _TIMEOUT_S
        )
        started = time.monotonic()
        assert await _reader(store).read(Owner("ann")) == (None, False)
        assert _TIMEOUT_S * 0.9 <= time.monotonic() - started < _TIMEOUT_S * 2
        await store.close()
        answered.set()
        silent.close()
        await asyncio.sleep(0.05)

    _run(loop, story())


def test_a_server_is_connected_to_redis_before_it_is_ready(bundle_path: Any, redis_url: str, tmp_path: Any) -> None:
    settings = Settings(_env_file=None, retort_home=tmp_path, redis_url=redis_url)
    app = create_app(settings, ServingSettings(_env_file=None, bundle=bundle_path))
    with redis.Redis.from_url(redis_url) as client:
        before = {one["id"] for one in client.client_list()}

        async def start() -> None:
            async with app.router.lifespan_context(app):
                new = [one for one in client.client_list() if one["id"] not in before]
                assert len([one for one in new if one["cmd"] == "zrange"]) == 2, "one for each batch that may run"

        asyncio.run(start())


def test_a_redis_that_is_down_delays_the_start_by_less_than_a_second() -> None:
    async def story() -> None:
        store = RedisHistory.from_url("redis://127.0.0.1:1", timeout_s=0.5)
        assert not await open_connections(store)
        await store.close()

    started = time.monotonic()
    asyncio.run(story())
    assert time.monotonic() - started < 1
