"""Threads of a running server: one pool for each kind of blocking work, so that none can starve another.

The event loop's own pool has a handful of threads. Queries to a database that hangs would take all of them, and a
student that runs in a thread would then never run.
"""

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

Result = TypeVar("Result")


class ThreadPool:
    """Pool of daemon threads: one that hangs does not delay the end of the process, unlike `ThreadPoolExecutor`'s."""

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._limit = threads
        self._work: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._changed = threading.Condition()
        self._started = 0
        self._idle = 0

    async def run(self, function: Callable[..., Result], *args: Any) -> Result:
        """Run a blocking function in a thread of the pool; a call that is cancelled while it waits is not made."""
        future: Future[Result] = Future()
        with self._changed:
            self._work.append((future, partial(copy_context().run, function, *args)))
            if self._idle < len(self._work) and self._started < self._limit:
                self._started += 1
                threading.Thread(target=self._run_thread, name=f"{self._name}-{self._started}", daemon=True).start()
            self._changed.notify()
        return await asyncio.wrap_future(future)

    def _run_thread(self) -> None:
        while True:
            future, function = self._next()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except BaseException as error:  # noqa: BLE001 - the caller receives it
                    future.set_exception(error)
            del future, function  # a result must not live until the next call

    def _next(self) -> tuple[Future[Any], Callable[[], Any]]:
        with self._changed:
            while not self._work:
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
            return self._work.popleft()


STUDENT_THREADS = ThreadPool("student", min(32, (os.cpu_count() or 1) + 4))
DATABASE_THREADS = ThreadPool("database", 8)
WATCHER_THREADS = ThreadPool("registry-watcher", 4)
CONSOLE_THREADS = ThreadPool("console", 2)
