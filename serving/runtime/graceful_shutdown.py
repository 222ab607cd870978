"""Graceful shutdown: report not ready, keep answering for a while, and only then stop listening.

A load balancer needs some time to notice that a server stops; requests that it sends to a closed port fail. During the
shutdown `/health/ready` is 503 and every response carries `connection: close`.
"""

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from types import FrameType
from typing import Any

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


class GracefulShutdown:
    """State of the shutdown of this process, and the pause before it stops listening.

    Args:
        pause_s: Seconds between SIGTERM and the end of listening; 0 disables the pause.
    """

    def __init__(self, pause_s: float) -> None:
        self._pause_s = pause_s
        self.in_progress = False

    def install(self, loop: asyncio.AbstractEventLoop) -> None:
        """Delay the present handler of SIGTERM by the pause; a second SIGTERM stops at once."""
        stop = signal.getsignal(signal.SIGTERM)
        # An embedding program, such as a test client, stops in its own way; only the main thread receives signals.
        if not self._pause_s or not callable(stop) or threading.current_thread() is not threading.main_thread():
            return
        handler: Callable[[int, FrameType | None], Any] = stop

        def begin(number: int, frame: FrameType | None) -> None:
            if self.in_progress:
                handler(number, frame)
                return
            self.in_progress = True
            loop.call_soon_threadsafe(loop.call_later, self._pause_s, handler, number, None)

        signal.signal(signal.SIGTERM, begin)


def close_connections(send: Send) -> Send:
    """Wrap `send` to close the connection after the response, so that the next request reaches another server."""

    async def send_close(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
        await send(message)

    return send_close
