"""Bundles in memory: loading, golden requests and warm-up."""

import math
import statistics
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np

from retort.serving.catalogue.catalogue import Catalogue
from retort.serving.models.graph_check import check_graph
from retort.shared.base.errors import BundleError
from retort.shared.model.bundle import Bundle, GoldenRequest, open_bundle
from retort.shared.model.scoring import Scorer

SCORE_TOLERANCE = 1e-3  # relative and absolute; the order of additions differs between processors
WARM_UP_ROUNDS = 20
# A slower graph would block the event loop for too long and runs in a thread. A graph in two stages is fast for one
# request alone, so a batch has a limit too.
INLINE_LIMIT_MS = 4.0
INLINE_BATCH_LIMIT_MS = 16.0
_BATCH = 16


@dataclass(frozen=True, eq=False)
class LiveBundle:
    """A bundle that has passed every check. A request keeps the bundle that it started with."""

    bundle: Bundle
    scorer: Scorer
    latency_ms: float
    loaded_at: datetime
    batch_latency_ms: float = 0.0

    @property
    def name(self) -> str:
        return self.bundle.manifest.name

    @cached_property
    def version(self) -> str:
        """The bundle's id; cached, because it is a hash of the whole manifest."""
        return self.bundle.bundle_id

    @cached_property
    def document(self) -> dict[str, str]:
        """The bundle's name and version as responses carry them."""
        return {"name": self.name, "version": self.version}

    @property
    def runs_inline(self) -> bool:
        """True when a run of the graph is faster than the change to a thread."""
        return self.latency_ms <= INLINE_LIMIT_MS and self.batch_latency_ms <= INLINE_BATCH_LIMIT_MS

    @cached_property
    def catalogue(self) -> Catalogue:
        return Catalogue(self.bundle)


def load_bundle(path: Path, *, threads: int = 1, latency_gate_ms: float = math.inf) -> LiveBundle:
    """Open a bundle, verify it, replay its golden requests, warm it up and measure its latency.

    Args:
        threads: Threads of the ONNX Runtime session.
        latency_gate_ms: Highest accepted median latency.

    Raises:
        BundleError: The first check that failed.
    """
    try:
        return _load_bundle(path, threads, latency_gate_ms)
    except BundleError:
        raise
    except Exception as error:  # nothing in a bundle may end the server or the registry watcher
        raise BundleError(
            f"{path}: the bundle cannot be used ({type(error).__name__}: {_first_line(error)}); publish it again."
        ) from error


def _load_bundle(path: Path, threads: int, latency_gate_ms: float) -> LiveBundle:
    bundle = open_bundle(path)
    try:
        check_graph(bundle.graph)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from None
    try:
        scorer = bundle.scorer(threads)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from None
    except Exception as error:  # ONNX Runtime's exceptions have no common base but Exception
        raise BundleError(
            f"{path}: the graph cannot be loaded ({_first_line(error)}); export it again with this version."
        ) from error
    _check_scores(bundle, scorer)
    for number, request in enumerate(bundle.golden, start=1):
        _replay_golden_request(bundle, scorer, request, number)
    latency_ms = _warm_up(bundle, scorer)
    if latency_ms > latency_gate_ms:
        raise BundleError(
            f"{path}: one request takes {latency_ms:.0f} ms and the limit is {latency_gate_ms:.0f} ms; "
            "use a smaller student or raise RETORT_LATENCY_GATE_MS."
        )
    batch_latency_ms = _time_batch(bundle, scorer) if latency_ms <= INLINE_LIMIT_MS else math.inf
    live = LiveBundle(bundle, scorer, latency_ms, datetime.now(UTC), batch_latency_ms)
    live.catalogue.prepare()
    return live


def _check_scores(bundle: Bundle, scorer: Scorer) -> None:
    """Score every item: with NaN in the weights, lists would hold hidden items, or PAD in place of items."""
    history = bundle.item_index.indexes(bundle.golden[0].history)
    nothing_hidden = np.zeros(0, dtype=np.int64)
    try:
        scores = scorer.top_k([history], bundle.manifest.n_items, hidden=[nothing_hidden]).scores_BK
    except Exception as error:  # see load_bundle
        raise BundleError(f"{bundle.path}: the graph fails ({_first_line(error)}); export it again.") from error
    if not np.isfinite(scores).all():
        raise BundleError(
            f"{bundle.path}: the graph gives scores that are NaN or infinite; train the student again with a lower "
            "[training] learning_rate."
        )


def _replay_golden_request(bundle: Bundle, scorer: Scorer, request: GoldenRequest, number: int) -> None:
    """Compare the graph's result with the sealed one: scores within tolerance, ids up to ties."""
    index = bundle.item_index
    history = index.indexes(request.history)
    hidden = index.indexes([*request.history, *request.exclude])
    try:
        ranked = scorer.top_k([history], request.k, hidden=[hidden])
    except Exception as error:  # see load_bundle
        raise BundleError(
            f"{bundle.path}: golden request {number} fails ({_first_line(error)}); export it again."
        ) from error
    items, scores = ranked.row(0)
    expected = np.array(request.scores, dtype=np.float32)
    same_scores = scores.shape == expected.shape and np.allclose(
        scores, expected, rtol=SCORE_TOLERANCE, atol=SCORE_TOLERANCE
    )
    got_ids = [index.id(int(item)) for item in items]
    same_scores = same_scores and len(got_ids) == len(request.items)
    if not same_scores or not _same_order(got_ids, request.items, expected):
        raise BundleError(
            f"{bundle.path}: golden request {number} gives another result than when the bundle was sealed; "
            "the graph or ONNX Runtime changed, export it again."
        )


def _same_order(got: list[str], expected: list[str], scores: np.ndarray) -> bool:
    """Return whether the ids are equal up to exchanges between tied scores."""
    for position, (got_id, expected_id) in enumerate(zip(got, expected, strict=True)):
        if got_id == expected_id:
            continue
        ties = np.isclose(scores, scores[position], rtol=SCORE_TOLERANCE, atol=SCORE_TOLERANCE)
        # The last item may be tied with an item just outside the list.
        if ties.sum() < 2 and position != len(expected) - 1:
            return False
    return True


def _warm_up(bundle: Bundle, scorer: Scorer) -> float:
    """Return the median latency in ms over the golden histories and histories of full length."""
    index = bundle.item_index
    full = np.arange(bundle.manifest.max_length, dtype=np.int64) % bundle.manifest.n_items + 1
    histories = [index.indexes(request.history) for request in bundle.golden] or [full]
    times_ms = []
    for round_ in range(WARM_UP_ROUNDS):
        history = full if round_ % 2 else histories[round_ // 2 % len(histories)]
        started = time.perf_counter()
        scorer.top_k([history], 10)
        times_ms.append((time.perf_counter() - started) * 1000)
    return statistics.median(times_ms[2:])


def _time_batch(bundle: Bundle, scorer: Scorer) -> float:
    """Return the least latency in ms of a batch of golden histories, over a few runs."""
    index = bundle.item_index
    golden = [index.indexes(request.history) for request in bundle.golden]
    histories = [golden[row % len(golden)] for row in range(_BATCH)]
    times_ms = []
    for _ in range(3):
        started = time.perf_counter()
        scorer.top_k(histories, 10)
        times_ms.append((time.perf_counter() - started) * 1000)
    return min(times_ms)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
