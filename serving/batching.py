"""Adaptive batching: what waits while the last batch runs is the next batch.

A request that comes alone is run at once and alone, so batching costs an idle server nothing; under load the batches
grow by themselves. No timer, no tuning.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


class Batcher(Generic[Q, A]):
    """Collects single questions and has them answered together, at most `max_running` batches at a time."""

    def __init__(
        self,
        answer: Callable[[list[Q]], Awaitable[list[A]]],
        *,
        max_batch: int,
        max_running: int = 1,
        observe: Callable[[int], None] | None = None,
    ) -> None:
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
        if not self._woken and len(self._running) < self._max_running:
            # Not now but after the other requests that came with the same read of the sockets.
            self._woken = True
            loop.call_soon(self._start)
        return future

    def _start(self) -> None:
        self._woken = False
        while self._waiting and len(self._running) < self._max_running:
            batch, self._waiting = self._waiting[: self._max_batch], self._waiting[self._max_batch :]
            # Whoever gave up while waiting costs nothing.
            batch = [pair for pair in batch if not pair[1].done()]
            if batch:
                task = asyncio.get_running_loop().create_task(self._run(batch))
                self._running.add(task)
                task.add_done_callback(self._finished)

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        self._start()

    async def _run(self, batch: list[tuple[Q, "asyncio.Future[A]"]]) -> None:
        if self._observe is not None:
            self._observe(len(batch))
        try:
            answers = await self._answer([question for question, _ in batch])
        except Exception as error:  # noqa: BLE001 - each waiting request gets it and decides
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)
