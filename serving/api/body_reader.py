"""Request bodies, read within limits of size, time and memory."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from retort.serving.schemas.problems import Problem, overloaded

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


class Disconnected(Exception):  # noqa: N818 - not an error of the server
    """The caller disconnected before the body was complete."""


class BodyReader:
    """Reader of request bodies, limited in size, time and memory.

    Args:
        limit: Bytes of one body.
        total_limit: Bytes of all bodies that are being read.
        timeout_s: Seconds for one body.
    """

    def __init__(self, limit: int, total_limit: int, timeout_s: float) -> None:
        self._limit = limit
        self._total_limit = total_limit
        self._timeout_s = timeout_s
        self._total = 0

    async def read(self, receive: Receive) -> bytes:
        """Read a whole body.

        Raises:
            Disconnected: The caller has disconnected.
            Problem: 408 after the timeout, 413 above the limit, 503 when bodies being read fill the memory.
        """
        task = asyncio.current_task()
        assert task is not None
        is_late = False

        def cancel() -> None:
            nonlocal is_late
            is_late = True
            task.cancel()

        # Cheaper than asyncio.timeout: most bodies have arrived with the head.
        timer = asyncio.get_running_loop().call_later(self._timeout_s, cancel)
        try:
            return await self._read(receive)
        except asyncio.CancelledError:
            if not is_late or task.uncancel():  # the server cancels the request as well
                raise
            raise _too_slow(self._timeout_s) from None
        finally:
            timer.cancel()

    async def _read(self, receive: Receive) -> bytes:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        body: bytes = message.get("body", b"")
        if message.get("more_body", False):
            return await self._read_rest(receive, body)
        if len(body) > self._limit:
            raise _too_large(self._limit)
        return body

    async def _read_rest(self, receive: Receive, first: bytes) -> bytes:
        parts, size = [first], len(first)
        self._total += size
        try:
            while True:
                if size > self._limit:
                    raise _too_large(self._limit)
                if self._total > self._total_limit:
                    raise overloaded()
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Disconnected
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                self._total += len(parts[-1])
                if not message.get("more_body", False) and size <= self._limit:
                    return b"".join(parts)
        finally:
            self._total -= size


def _too_large(limit: int) -> Problem:
    return Problem(413, f"The body is larger than {limit} bytes; split it into several requests.")


def _too_slow(timeout_s: float) -> Problem:
    return Problem(
        408,
        f"The body did not arrive within {timeout_s:g} s; send it faster or in several requests.",
        headers={"connection": "close"},
    )
