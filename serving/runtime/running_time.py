"""Timeout in running time: what this process itself loses, while it stands still, is not counted against a reply.

On a busy machine a process can wait for a core, for a lock or for its own other work. When it runs again, its timers
come before its sockets, so a plain timeout would refuse a reply that has long arrived.
"""

import asyncio
from types import TracebackType

_STEPS = 5


class running_time_timeout:  # noqa: N801 - a context manager, as asyncio.timeout
    """Asynchronous context manager that raises `TimeoutError` after so many seconds in which the event loop ran.

    The time is counted in a few steps. A step counts as its planned length, however late its timer comes.
    """

    def __init__(self, seconds: float) -> None:
        self._step_s = seconds / _STEPS
        self._left = _STEPS
        self._timeout = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._timeout.__aenter__()
        self._timer = self._loop.call_later(self._step_s, self._count_step)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    def _count_step(self) -> None:
        self._left -= 1
        if self._left:
            self._timer = self._loop.call_later(self._step_s, self._count_step)
        else:
            self._timeout.reschedule(self._loop.time())
