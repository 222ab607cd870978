"""Waiting requests are processed together, and each gets its result."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from retort.serving.runtime.batching import Batcher


class Doubler:
    """Doubles numbers and remembers the batches; slow above 100, fails on 13."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def process(self, numbers: list[int]) -> list[int] | Coroutine[Any, Any, list[int]]:
        self.batches.append(numbers)
        if any(number > 100 for number in numbers):
            return self._later(numbers)
        return self._doubled(numbers)

    async def _later(self, numbers: list[int]) -> list[int]:
        await asyncio.sleep(0.01)
        return self._doubled(numbers)

    def _doubled(self, numbers: list[int]) -> list[int]:
        if any(number % 100 == 13 for number in numbers):
            raise ValueError("thirteen")
        return [2 * number for number in numbers]


@pytest.mark.parametrize("start", [0, 200], ids=["at once", "later"])
def test_each_request_gets_its_result_in_batches_of_the_maximum_size(start: int) -> None:
    doubler = Doubler()

    async def ask() -> list[int]:
        batcher = Batcher(doubler.process, max_batch=4)
        return await asyncio.gather(*(batcher.submit(start + n) for n in range(10)))

    assert asyncio.run(ask()) == [2 * (start + n) for n in range(10)]
    assert [len(batch) for batch in doubler.batches] == [4, 4, 2]


@pytest.mark.parametrize("start", [0, 200], ids=["at once", "later"])
def test_a_failure_affects_its_batch_only(start: int) -> None:
    async def ask() -> list[int | BaseException]:
        batcher = Batcher(Doubler().process, max_batch=2)
        return await asyncio.gather(*(batcher.submit(start + n) for n in (12, 13, 14, 15)), return_exceptions=True)

    first, second, third, fourth = asyncio.run(ask())
    assert isinstance(first, ValueError)
    assert isinstance(second, ValueError)
    assert (third, fourth) == (2 * (start + 14), 2 * (start + 15))


def test_results_are_delivered_before_the_next_batch_runs() -> None:
    doubler = Doubler()
    seen: list[int] = []

    async def one(batcher: Batcher[int, int], number: int) -> None:
        await batcher.submit(number)
        seen.append(len(doubler.batches))

    async def ask() -> None:
        batcher = Batcher(doubler.process, max_batch=1)
        await asyncio.gather(*(one(batcher, n) for n in range(3)))

    asyncio.run(ask())
    assert seen == [1, 2, 3]


def test_cancelled_requests_are_not_processed() -> None:
    doubler = Doubler()

    async def ask() -> int:
        batcher = Batcher(doubler.process, max_batch=4)
        batcher.submit(1).cancel()
        return await batcher.submit(2)

    assert asyncio.run(ask()) == 4
    assert doubler.batches == [[2]]
