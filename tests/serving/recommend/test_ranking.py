"""Requests for one bundle are ranked together and independently of other bundles."""

import asyncio
import gc
import time
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retort.serving.models.bundles import LiveBundle, load_bundle
from retort.serving.recommend.ranking import Ranking, RankingRequest, StudentRanker
from retort.serving.runtime.metrics import Metrics

HISTORY = np.array([1], dtype=np.int64)


class Slow:
    """A graph that takes its time, and then answers or fails."""

    def __init__(self, live: LiveBundle, error: Exception | None) -> None:
        self._live, self._error = live, error

    def top_k(self, *args: Any, **named: Any) -> Any:
        time.sleep(0.3)
        if self._error is not None:
            raise self._error
        return self._live.scorer.top_k(*args, **named)


@pytest.mark.parametrize("error", [None, RuntimeError("out of memory")])
def test_a_slow_or_failing_bundle_does_not_affect_other_bundles(bundle_path: Path, error: Exception | None) -> None:
    live = load_bundle(bundle_path)
    slow = replace(live, scorer=Slow(live, error), latency_ms=300.0)

    async def scenario() -> None:
        ranker = StudentRanker(Metrics(), max_batch=16)

        async def ask(bundle: LiveBundle) -> tuple[float, Ranking]:
            started = time.perf_counter()
            ranking = await ranker.rank(RankingRequest(bundle, HISTORY, HISTORY, 3))
            return time.perf_counter() - started, ranking

        shadows = asyncio.create_task(ask(slow))
        together = await ask(live)
        await asyncio.sleep(0.05)
        meanwhile = await ask(live)
        for seconds, (items, _) in (together, meanwhile):
            assert seconds < 0.2
            assert len(items) == 3
        if error is None:
            assert len((await shadows)[1][0]) == 3
        else:
            with pytest.raises(RuntimeError):
                await shadows

    asyncio.run(scenario())


def test_requests_with_and_without_a_bias_get_their_own_results(bundle_path: Path) -> None:
    live = load_bundle(bundle_path)
    only = np.full((1, live.catalogue.n_items + 1), -np.inf, dtype=np.float32)
    only[0, 7] = 0

    async def scenario() -> list[Ranking]:
        ranker = StudentRanker(Metrics(), max_batch=16)
        asked = [
            RankingRequest(live, HISTORY, HISTORY, depth, bias) for depth, bias in ((2, None), (5, only), (4, None))
        ]
        return list(await asyncio.gather(*map(ranker.rank, asked)))

    first, biased, last = (items.tolist() for items, _ in asyncio.run(scenario()))
    assert (len(first), biased, len(last)) == (2, [7], 4)
    assert last[:2] == first


def test_a_swapped_out_bundle_is_released(bundle_path: Path) -> None:
    ranker = StudentRanker(Metrics(), max_batch=16)

    async def scenario() -> "weakref.ref[LiveBundle]":
        live = load_bundle(bundle_path)
        await ranker.rank(RankingRequest(live, HISTORY, HISTORY, 3))
        return weakref.ref(live)

    left = asyncio.run(scenario())
    gc.collect()
    assert left() is None
