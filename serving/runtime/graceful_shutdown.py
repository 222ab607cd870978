"""Leaving without losing a request: first say so, go on answering, and only then stop listening.

Between the moment when a server closes its port and the moment when a load balancer has noticed, requests would be
sent into a closed door. While a server leaves, `/health/ready` is 503 and every answer carries `connection: close`.
"""

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from types import FrameType
from typing import Any

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


class Leaving:
    """Whether this process was told to stop, and the pause before it does."""

    def __init__(self, pause_s: float) -> None:
        self._pause_s = pause_s
        self.under_way = False

    def take_over(self, loop: asyncio.AbstractEventLoop) -> None:
        """Put the pause before what SIGTERM does now; SIGTERM a second time stops at once."""
        stop = signal.getsignal(signal.SIGTERM)
        # An embedding program (a test client) has its own way to stop, and only main threads hear signals.
        if not self._pause_s or not callable(stop) or threading.current_thread() is not threading.main_thread():
            return
        handler: Callable[[int, FrameType | None], Any] = stop

        def leave(number: int, frame: FrameType | None) -> None:
            if self.under_way:
                handler(number, frame)
                return
            self.under_way = True
            loop.call_soon_threadsafe(loop.call_later, self._pause_s, handler, number, None)

        signal.signal(signal.SIGTERM, leave)


def closing(send: Send) -> Send:
    """The same, and the caller's next request takes a new connection, to whoever then listens."""

    async def last(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
        await send(message)

    return last
