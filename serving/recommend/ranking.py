"""Ranking by the student: requests that wait for the same bundle are scored in one run of the graph."""

import time
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from retort.serving.models.bundles import LiveBundle
from retort.serving.runtime.batching import Batcher
from retort.serving.runtime.metrics import Metrics
from retort.serving.runtime.threads import STUDENT_THREADS
from retort.shared.model.sequences import IntArray

FloatArray = NDArray[np.float32]
Ranking = tuple[IntArray, FloatArray]  # item indices and scores, best first


@dataclass(frozen=True, slots=True, eq=False)
class RankingRequest:
    """One history to rank items for.

    Attributes:
        hidden: Item indices to leave out.
        depth: Length of the ranking.
        bias: (1, n_items + 1) addition to the scores, or None.
        queued_at_s: Time of the request by `time.perf_counter`; 0 if unknown.
    """

    live: LiveBundle
    history: IntArray
    hidden: IntArray
    depth: int
    bias: FloatArray | None = None
    queued_at_s: float = 0.0


class StudentRanker:
    """Batched ranker with one queue for each bundle, so that a slow or failing bundle does not affect the others."""

    def __init__(self, metrics: Metrics, *, max_batch: int) -> None:
        self._max_batch = max_batch
        self._sizes = metrics.batch_sizes.labels("student")
        self._seconds = metrics.stage_seconds.labels("student")
        self._queue_seconds = metrics.stage_seconds.labels("queue")
        # A swapped-out bundle is released with its last request.
        self._batchers: WeakKeyDictionary[LiveBundle, Batcher[RankingRequest, Ranking]] = WeakKeyDictionary()

    def rank(self, request: RankingRequest) -> Awaitable[Ranking]:
        """Return the best `depth` items; fewer when no more are available."""
        batcher = self._batchers.get(request.live)
        if batcher is None:
            batcher = Batcher(self._process, max_batch=self._max_batch, observe=self._sizes.observe)
            self._batchers[request.live] = batcher
        return batcher.submit(request)

    def _process(self, batch: list[RankingRequest]) -> list[Ranking] | Coroutine[Any, Any, list[Ranking]]:
        """Rank requests of one bundle: inline when its graph is fast, otherwise in a thread."""
        started = time.perf_counter()
        for request in batch:
            if request.queued_at_s:
                self._queue_seconds.observe(started - request.queued_at_s)
        if not batch[0].live.runs_inline:
            return self._process_in_thread(batch, started)
        rankings = rank_batch(batch)
        self._seconds.observe(time.perf_counter() - started)
        return rankings

    async def _process_in_thread(self, batch: list[RankingRequest], started: float) -> list[Ranking]:
        rankings = await STUDENT_THREADS.run(rank_batch, batch)
        self._seconds.observe(time.perf_counter() - started)
        return rankings


def rank_batch(batch: list[RankingRequest]) -> list[Ranking]:
    """Rank requests of one bundle: one run of the graph for those without a bias, one run for each of the others.

    A bias is as wide as the catalogue; stacking several would copy more than a run costs.
    """
    rankings: list[Ranking | None] = [None] * len(batch)
    plain = [index for index, request in enumerate(batch) if request.bias is None]
    if plain:
        _rank_group(batch, plain, rankings)
    for index, request in enumerate(batch):
        if request.bias is not None:
            _rank_group(batch, [index], rankings)
    return [ranking for ranking in rankings if ranking is not None]


def _rank_group(batch: list[RankingRequest], indices: list[int], rankings: list[Ranking | None]) -> None:
    group = [batch[index] for index in indices]
    first = group[0]
    ranked = first.live.scorer.top_k(
        [first.live.bundle.newest(request.history) for request in group],
        max(request.depth for request in group),
        hidden=[request.hidden for request in group],
        bias=first.bias,
    )
    for row, (index, request) in enumerate(zip(indices, group, strict=True)):
        items, scores = ranked.row(row)
        rankings[index] = (items[: request.depth], scores[: request.depth])
