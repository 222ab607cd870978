"""Connections that Redis, or a proxy before it, has ended: the next command opens another one and is answered."""

import asyncio
import struct
from collections.abc import Callable
from typing import Any

import pytest
import redis
import uvloop

from retort.shared.history.redis_history import RedisHistory
from retort.shared.history.store import HistoryEvent, Owner

ANN = Owner("ann")
LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


def _run(loop: Callable[[], asyncio.AbstractEventLoop], story: Any) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(story)


@LOOPS
def test_reads_and_writes_pass_after_a_restart_whatever_connection_they_get(
    redis_url: str, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def story() -> None:
        store = RedisHistory.from_url(redis_url, timeout_s=5)
        await asyncio.gather(*(store.recent([ANN], 1) for _ in range(8)))
        for call in (
            lambda number: store.recent([ANN], 1),
            lambda number: store.append([HistoryEvent(ANN, f"i{number}", number, f"e{number}")]),
        ):
            with redis.Redis.from_url(redis_url) as client:
                assert client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes") >= 8
            await asyncio.sleep(0.1)
            await asyncio.gather(*(call(number) for number in range(8)))
        await store.close()

    _run(loop, story())


@LOOPS
def test_a_read_is_repeated_when_its_connection_was_dropped_without_a_word(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """A proxy or a new container that does not know a connection answers its next command with a reset."""

    async def story() -> None:
        dropped = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            is_old = not dropped.is_set()
            while line := await reader.readline():
                if b"ZRANGE" in line:
                    if is_old and dropped.is_set():
                        linger = struct.pack("ii", 1, 0)
                        writer.get_extra_info("socket").setsockopt(1, 13, linger)  # SO_LINGER of 0: a reset
                        writer.transport.abort()
                        return
                    writer.write(b"*0\r\n")
                elif b"CLIENT" in line:
                    writer.write(b"+OK\r\n")
                elif b"HELLO" in line:
                    writer.write(b"%1\r\n+proto\r\n:3\r\n")
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        store = RedisHistory.from_url(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout_s=5)
        await asyncio.gather(*(store.recent([ANN], 1) for _ in range(2)))
        dropped.set()
        assert await asyncio.gather(*(store.recent([ANN], 1) for _ in range(2))) == [[[]], [[]]]
        await store.close()
        server.close()
        await asyncio.sleep(0.05)

    _run(loop, story())
