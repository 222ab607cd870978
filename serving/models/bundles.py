"""Bundles in memory: loaded aside, checked at every gate, then swapped in by replacing one reference.

A bundle that fails any gate never answers a request; what serves goes on serving, and the refusal is kept for
`/models`, the metrics and the log.
"""

import logging
import math
import statistics
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np

from retort.serving.catalogue.catalogue import Catalogue
from retort.serving.models.graph_check import check_graph
from retort.shared.base.errors import BundleError
from retort.shared.model.bundle import Bundle, GoldenRequest, open_bundle
from retort.shared.model.scoring import Scorer

logger = logging.getLogger(__name__)

SCORE_TOLERANCE = 1e-3  # relative and absolute; other processors add up in another order
WARM_UP_ROUNDS = 20
# Above this a run of the graph would hold up the event loop too long and goes to a thread.
INLINE_LIMIT_MS = 4.0


@dataclass(frozen=True, eq=False)
class LiveBundle:
    """A bundle that has passed every gate. Whoever answers a request keeps the one it started with."""

    bundle: Bundle
    scorer: Scorer
    latency_ms: float
    loaded_at: datetime

    @property
    def name(self) -> str:
        return self.bundle.manifest.name

    @cached_property
    def version(self) -> str:
        """The bundle's id; kept, for it is a hash of the whole manifest."""
        return self.bundle.bundle_id

    @cached_property
    def document(self) -> dict[str, str]:
        """How answers name the bundle."""
        return {"name": self.name, "version": self.version}

    @property
    def runs_inline(self) -> bool:
        """True where one answer is so quick that a thread would cost more than it frees."""
        return self.latency_ms <= INLINE_LIMIT_MS

    @cached_property
    def catalogue(self) -> Catalogue:
        return Catalogue(self.bundle)


@dataclass(frozen=True)
class Refusal:
    """A bundle, or a variant over one, that was not let in, and why."""

    where: str
    reason: str
    at: datetime


@dataclass
class Slot:
    """The one reference that a swap replaces."""

    current: LiveBundle | None = None
    refusals: deque[Refusal] = field(default_factory=lambda: deque(maxlen=10))
    # Who looks at a bundle before its first answer; they let it in whatever they find.
    watchers: list[Callable[[LiveBundle], object]] = field(default_factory=list)

    def swap(self, path: Path, *, threads: int = 1, latency_gate_ms: float = math.inf) -> LiveBundle:
        """Load `path` aside and, when it passes, let it answer from now on. Blocking: call it in a thread."""
        fresh = load(path, threads=threads, latency_gate_ms=latency_gate_ms)
        for watch in self.watchers:
            watch(fresh)
        self.current = fresh
        logger.info("bundle serves", extra={"model": fresh.name, "version": fresh.version})
        return fresh

    def refuse(self, where: str, reason: str, what: str = "bundle") -> None:
        """Remember and tell that a bundle, or a variant over it, was not let in; the same refusal is told once."""
        if self.refusals and self.refusals[-1].where == where and self.refusals[-1].reason == reason:
            return
        self.refusals.append(Refusal(where, reason, datetime.now(UTC)))
        logger.error("%s refused", what, extra={"where": where, "reason": reason})


def load(path: Path, *, threads: int = 1, latency_gate_ms: float = math.inf) -> LiveBundle:
    """Open, verify, replay the golden requests, warm up, measure. Raises `BundleError` at the first closed gate."""
    bundle = open_bundle(path)
    try:
        check_graph(bundle.graph)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from None
    try:
        scorer = bundle.scorer(threads)
    except Exception as error:  # ONNX Runtime's own classes have no common base but Exception
        raise BundleError(
            f"{path}: the graph cannot be loaded ({_first_line(error)}); export it again with this version."
        ) from error
    for number, request in enumerate(bundle.golden, start=1):
        _replay(bundle, scorer, request, number)
    latency_ms = _warm_up(bundle, scorer)
    if latency_ms > latency_gate_ms:
        raise BundleError(
            f"{path}: one answer takes {latency_ms:.0f} ms and the gate is {latency_gate_ms:.0f} ms; "
            "use a smaller student or raise RETORT_LATENCY_GATE_MS."
        )
    live = LiveBundle(bundle, scorer, latency_ms, datetime.now(UTC))
    live.catalogue.prepare()
    return live


def _replay(bundle: Bundle, scorer: Scorer, request: GoldenRequest, number: int) -> None:
    """The graph must still give what it gave when it was sealed; scores within tolerance, ids up to equal scores."""
    index = bundle.item_index
    history = index.indexes(request.history)
    hidden = index.indexes([*request.history, *request.exclude])
    try:
        ranked = scorer.top_k([history], request.k, hidden=[hidden])
    except Exception as error:  # as above
        raise BundleError(
            f"{bundle.path}: golden request {number} cannot be answered ({_first_line(error)}); export it again."
        ) from error
    items, scores = ranked.row(0)
    expected = np.array(request.scores, dtype=np.float32)
    same_scores = scores.shape == expected.shape and np.allclose(
        scores, expected, rtol=SCORE_TOLERANCE, atol=SCORE_TOLERANCE
    )
    got_ids = [index.id(int(item)) for item in items]
    if not same_scores or not _same_order(got_ids, request.items, expected):
        raise BundleError(
            f"{bundle.path}: golden request {number} is answered otherwise than when the bundle was sealed; "
            "the graph or ONNX Runtime changed, export it again."
        )


def _same_order(got: list[str], expected: list[str], scores: np.ndarray) -> bool:
    """Equal, or exchanged only where the scores are as good as equal."""
    for place, (one, other) in enumerate(zip(got, expected, strict=True)):
        if one == other:
            continue
        near = np.isclose(scores, scores[place], rtol=SCORE_TOLERANCE, atol=SCORE_TOLERANCE)
        # The last place may have been won by an item that tied just outside the list.
        if near.sum() < 2 and place != len(expected) - 1:
            return False
    return True


def _warm_up(bundle: Bundle, scorer: Scorer) -> float:
    """Median time of one answer in ms, over histories like the golden ones and of full length."""
    index = bundle.item_index
    full = np.arange(bundle.manifest.max_length, dtype=np.int64) % bundle.manifest.n_items + 1
    histories = [index.indexes(request.history) for request in bundle.golden] or [full]
    times_ms = []
    for turn in range(WARM_UP_ROUNDS):
        history = full if turn % 2 else histories[turn // 2 % len(histories)]
        started = time.perf_counter()
        scorer.top_k([history], 10)
        times_ms.append((time.perf_counter() - started) * 1000)
    return statistics.median(times_ms[2:])


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
