"""Adaptive batching: what waits while the last batch runs is the next batch.

A request that comes alone is run at once and alone, so batching costs an idle server nothing; under load the batches
grow by themselves. No timer, no tuning.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


class Batcher(Generic[Q, A]):
    """Collects single questions and has them answered together, at most `max_running` batches at a time."""

    def __init__(
        self,
        answer: Callable[[list[Q]], list[A] | Coroutine[Any, Any, list[A]]],
        *,
        max_batch: int,
        max_running: int = 1,
        observe: Callable[[int], None] | None = None,
    ) -> None:
        """`answer` gives the answers at once, where they need no waiting, or a coroutine that will."""
        self._answer = answer
        self._max_batch = max_batch
        self._max_running = max_running
        self._observe = observe
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._running: set[asyncio.Task[None]] = set()
        self._woken = False

    def ask(self, question: Q) -> "asyncio.Future[A]":
        """A future with the answer; a failure of the batch is a failure of each of its questions."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[A] = loop.create_future()
        self._waiting.append((question, future))
        self._wake(loop)
        return future

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        # Not now but after the other requests that came with the same read of the sockets.
        if self._waiting and not self._woken and len(self._running) < self._max_running:
            self._woken = True
            loop.call_soon(self._start)

    def _start(self) -> None:
        self._woken = False
        while self._waiting and len(self._running) < self._max_running:
            batch, self._waiting = self._waiting[: self._max_batch], self._waiting[self._max_batch :]
            # Whoever gave up while waiting costs nothing.
            batch = [pair for pair in batch if not pair[1].done()]
            if batch and self._begin(batch):
                # The next batch lets the answers of this one out first.
                self._wake(asyncio.get_running_loop())
                return

    def _begin(self, batch: list[tuple[Q, "asyncio.Future[A]"]]) -> bool:
        """True where the batch is answered already, else a task has been started for it."""
        if self._observe is not None:
            self._observe(len(batch))
        try:
            answers = self._answer([question for question, _ in batch])
        except Exception as error:  # noqa: BLE001 - each waiting request gets it and decides
            _fail(batch, error)
            return True
        if isinstance(answers, list):
            _settle(batch, answers)
            return True
        task = asyncio.get_running_loop().create_task(self._wait(batch, answers))
        self._running.add(task)
        task.add_done_callback(self._finished)
        return False

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        self._start()

    async def _wait(self, batch: list[tuple[Q, "asyncio.Future[A]"]], answers: Coroutine[Any, Any, list[A]]) -> None:
        try:
            _settle(batch, await answers)
        except Exception as error:  # noqa: BLE001 - as above
            _fail(batch, error)


def _settle(batch: list[tuple[Q, "asyncio.Future[A]"]], answers: list[A]) -> None:
    for (_, future), answer in zip(batch, answers, strict=True):
        if not future.done():
            future.set_result(answer)


def _fail(batch: list[tuple[Q, "asyncio.Future[A]"]], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
