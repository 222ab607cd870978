"""The student's run: questions that wait together for one bundle are scored together."""

import asyncio
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
from retort.shared.model.sequences import IntArray

FloatArray = NDArray[np.float32]
Ranking = tuple[IntArray, FloatArray]  # best first: item indexes, scores


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """One history to rank for. `bias` is (1, n_items + 1) or None; `asked_s` by `time.perf_counter`, 0: not known."""

    live: LiveBundle
    history: IntArray
    hidden: IntArray
    depth: int
    bias: FloatArray | None = None
    asked_s: float = 0.0


class StudentRanker:
    """Runs the graph for whoever waits, in a row for each bundle: one that is slow or fails harms no other's."""

    def __init__(self, metrics: Metrics, *, max_batch: int) -> None:
        self._max_batch = max_batch
        self._sizes = metrics.batch_sizes.labels("student")
        self._seconds = metrics.stage_seconds.labels("student")
        self._queued = metrics.stage_seconds.labels("queue")
        # A bundle that has been swapped out goes with its last question.
        self._batchers: WeakKeyDictionary[LiveBundle, Batcher[Question, Ranking]] = WeakKeyDictionary()

    def rank(self, question: Question) -> Awaitable[Ranking]:
        """The best `depth` items; fewer where no more are left."""
        batcher = self._batchers.get(question.live)
        if batcher is None:
            batcher = Batcher(self._answer, max_batch=self._max_batch, observe=self._sizes.observe)
            self._batchers[question.live] = batcher
        return batcher.ask(question)

    def _answer(self, questions: list[Question]) -> list[Ranking] | Coroutine[Any, Any, list[Ranking]]:
        """At once where the graph is quick, else in a thread. The questions are all for one bundle."""
        started = time.perf_counter()
        for question in questions:
            if question.asked_s:
                self._queued.observe(started - question.asked_s)
        if not questions[0].live.runs_inline:
            return self._in_a_thread(questions, started)
        rankings = run(questions)
        self._seconds.observe(time.perf_counter() - started)
        return rankings

    async def _in_a_thread(self, questions: list[Question], started: float) -> list[Ranking]:
        rankings = await asyncio.to_thread(run, questions)
        self._seconds.observe(time.perf_counter() - started)
        return rankings


def run(questions: list[Question]) -> list[Ranking]:
    """Rank questions of one bundle: one run of the graph for those without a bias, one each for the others.

    A bias is as wide as the catalogue; stacking them would copy more than a run costs.
    """
    rankings: list[Ranking | None] = [None] * len(questions)
    plain = [place for place, question in enumerate(questions) if question.bias is None]
    if plain:
        _run_group(questions, plain, rankings)
    for place, question in enumerate(questions):
        if question.bias is not None:
            _run_group(questions, [place], rankings)
    return [ranking for ranking in rankings if ranking is not None]


def _run_group(questions: list[Question], places: list[int], rankings: list[Ranking | None]) -> None:
    group = [questions[place] for place in places]
    first = group[0]
    ranked = first.live.scorer.top_k(
        [question.history for question in group],
        max(question.depth for question in group),
        hidden=[question.hidden for question in group],
        bias=first.bias,
    )
    for row, (place, question) in enumerate(zip(places, group, strict=True)):
        items, scores = ranked.row(row)
        rankings[place] = (items[: question.depth], scores[: question.depth])
