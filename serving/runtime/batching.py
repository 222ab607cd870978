"""Adaptive batching: requests that arrive while a batch runs form the next batch.

A single request runs at once and alone, so batching costs an idle server nothing. Under load the batches grow without
a timer and without tuning.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Adaptive batcher of single requests.

    Args:
        process: Returns the results of a batch, or a coroutine that will.
        max_batch: Requests in one batch.
        max_running: Batches that run at the same time.
        observe: Receives the size of each batch.
    """

    def __init__(
        self,
        process: Callable[[list[Item]], list[Result] | Coroutine[Any, Any, list[Result]]],
        *,
        max_batch: int,
        max_running: int = 1,
        observe: Callable[[int], None] | None = None,
    ) -> None:
        self._process = process
        self._max_batch = max_batch
        self._max_running = max_running
        self._observe = observe
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._running: set[asyncio.Task[None]] = set()
        self._is_scheduled = False

    def submit(self, item: Item) -> "asyncio.Future[Result]":
        """Queue a request and return the future of its result; an error of the batch is set on each of its futures."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._waiting.append((item, future))
        self._schedule(loop)
        return future

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        # Run after the other requests of the same read of the sockets, so that they share the batch.
        if self._waiting and not self._is_scheduled and len(self._running) < self._max_running:
            self._is_scheduled = True
            loop.call_soon(self._start)

    def _start(self) -> None:
        self._is_scheduled = False
        while self._waiting and len(self._running) < self._max_running:
            batch, self._waiting = self._waiting[: self._max_batch], self._waiting[self._max_batch :]
            # Cancelled requests are not computed.
            batch = [pair for pair in batch if not pair[1].done()]
            if batch and self._start_batch(batch):
                # The results of this batch are delivered before the next batch runs.
                self._schedule(asyncio.get_running_loop())
                return

    def _start_batch(self, batch: list[tuple[Item, "asyncio.Future[Result]"]]) -> bool:
        """Return True when the batch is finished, False when a task runs for it."""
        if self._observe is not None:
            self._observe(len(batch))
        try:
            results = self._process([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - each waiting request receives it
            _set_exception(batch, error)
            return True
        if isinstance(results, list):
            _set_results(batch, results)
            return True
        task = asyncio.get_running_loop().create_task(self._await_results(batch, results))
        self._running.add(task)
        task.add_done_callback(self._on_done)
        return False

    def _on_done(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        self._start()

    async def _await_results(
        self, batch: list[tuple[Item, "asyncio.Future[Result]"]], results: Coroutine[Any, Any, list[Result]]
    ) -> None:
        try:
            _set_results(batch, await results)
        except Exception as error:  # noqa: BLE001 - each waiting request receives it
            _set_exception(batch, error)


def _set_results(batch: list[tuple[Item, "asyncio.Future[Result]"]], results: list[Result]) -> None:
    for (_, future), result in zip(batch, results, strict=True):
        if not future.done():
            future.set_result(result)


def _set_exception(batch: list[tuple[Item, "asyncio.Future[Result]"]], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
