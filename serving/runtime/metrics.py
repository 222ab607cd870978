"""What Prometheus sees. No label ever holds a user, an item or a key."""

from collections.abc import Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.multiprocess import MultiProcessCollector

from retort.serving.runtime.fault_metrics import FaultMetrics

_FAST_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_LENGTHS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
# What tells one way of answering from another: the experiment's variant and who answered.
_SHOWN = ("experiment", "variant", "source")


class Metrics:
    """One set for each application; label children that the hot path needs are kept."""

    def __init__(self, shared_dir: Path | None = None) -> None:
        self._shared_dir = shared_dir
        self.registry = CollectorRegistry()
        self._children: dict[tuple[object, ...], MetricWrapperBase] = {}
        self.faults = FaultMetrics(self.registry)
        self._about_requests()
        self._about_answers()
        self._about_stages()
        self._about_stores()
        self._about_bundles()
        self._about_experiments()

    def _about_requests(self) -> None:
        self.requests = self._counter("retort_requests_total", "Requests by route and status.", "route", "status")
        self.seconds = self._histogram("retort_request_seconds", "Time in the house.", "route")
        self.refused = self._counter("retort_refused_requests_total", "Requests turned away.", "why")
        self.waiting = Gauge(
            "retort_requests_in_flight", "Requests in the house.", registry=self.registry, multiprocess_mode="livesum"
        )

    def _about_answers(self) -> None:
        self.answers = self._counter(
            "retort_answers_total", "Recommendations by who answered and why.", "source", "reason"
        )
        self.answer_seconds = self._histogram("retort_answer_seconds", "Time of one recommendation.", *_SHOWN)
        self.exposures = self._counter("retort_exposures_total", "Lists shown.", *_SHOWN)
        self.exposed_items = self._counter("retort_exposed_items_total", "Items in the lists shown.", *_SHOWN)
        self.exposed_events = self._counter(
            "retort_exposed_events_total", "Events that named the list that showed their item.", *_SHOWN, "type"
        )
        self.history_events = self._histogram(
            "retort_history_events", "Events in the histories that were read.", buckets=_LENGTHS
        )

    def _about_stages(self) -> None:
        self.batch_sizes = self._histogram(
            "retort_batch_size", "Requests in one round trip or one run of the graph.", "stage", buckets=_SIZES
        )
        self.stage_seconds = self._histogram(
            "retort_stage_seconds",
            "Time by stage: history (a round trip to Redis), queue (waiting for the graph), student (a run of the "
            "graph), rules (shaping one list).",
            "stage",
        )

    def _about_stores(self) -> None:
        self.events = self._counter("retort_events_total", "Events by type and outcome.", "type", "outcome")
        self.store_failures = self._counter("retort_store_failures_total", "Calls to Redis that failed.", "call")
        self.breaker_open = self._counter("retort_breaker_refusals_total", "Calls not made because Redis was resting.")
        self.limits_by_worker = self._counter(
            "retort_limits_by_worker_total", "Requests of limited keys that a worker counted for itself alone."
        )
        self.exposures_written = self._counter(
            "retort_exposures_written_total", "Shown lists on their way to the database, by outcome.", "outcome"
        )

    def _about_bundles(self) -> None:
        self.model = Gauge(
            "retort_model_info",
            "1 for the bundle that serves.",
            ["tenant", "alias", "name", "version"],
            registry=self.registry,
            multiprocess_mode="livemax",
        )
        self.swaps = self._counter(
            "retort_bundle_swaps_total", "Bundles taken or refused.", "tenant", "alias", "outcome"
        )

    def _about_experiments(self) -> None:
        self.variant_events = self._counter(
            "retort_variant_events_total", "Events by variant.", "experiment", "variant", "type"
        )
        self.variants_refused = self._counter(
            "retort_variants_refused_total", "Variants that their bundle cannot serve.", "experiment", "variant"
        )
        self.shadows = self._counter("retort_shadows_total", "Shadow answers by outcome.", "outcome")
        self.shadow_overlap = self._histogram(
            "retort_shadow_overlap", "Share of the shown items that the shadow shows too.", buckets=_SHARES
        )

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """One finished request."""
        self._count(self.requests, route, str(status))
        self._observe(self.seconds, seconds, route)

    def count_refusal(self, why: str, status: int) -> None:
        """A request that was turned away at the door. It took no time, and would make those look good that did."""
        self._count(self.refused, why)
        self._count(self.requests, "refused", str(status))

    def count_answer(self, source: str, reason: str | None) -> None:
        """One recommendation, by label."""
        self._count(self.answers, source, reason or "none")

    def count_shown(self, experiment: str, variant: str, source: str, n_items: int, seconds: float) -> None:
        """One list that a caller was given; `seconds`: how long it took to make."""
        self._count(self.exposures, experiment, variant, source)
        self._count(self.exposed_items, experiment, variant, source, by=n_items)
        self._observe(self.answer_seconds, seconds, experiment, variant, source)

    def observe_stage(self, stage: str, seconds: float) -> None:
        """How long one stage of one answer took."""
        self._observe(self.stage_seconds, seconds, stage)

    def render(self) -> bytes:
        """The text format, over all workers where there are several."""
        if self._shared_dir is None:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together, path=str(self._shared_dir))  # type: ignore[no-untyped-call]
        return generate_latest(together)

    def _count(self, counter: Counter, *labels: str, by: float = 1) -> None:
        child = self._child(counter, *labels)
        assert isinstance(child, Counter)
        child.inc(by)

    def _observe(self, histogram: Histogram, value: float, *labels: str) -> None:
        child = self._child(histogram, *labels)
        assert isinstance(child, Histogram)
        child.observe(value)

    def _child(self, parent: Counter | Histogram, *labels: str) -> MetricWrapperBase:
        key = (parent, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = parent.labels(*labels)
        return child

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(name, about, labels, registry=self.registry)

    def _histogram(self, name: str, about: str, *labels: str, buckets: Sequence[float] = _FAST_S) -> Histogram:
        return Histogram(name, about, labels, buckets=buckets, registry=self.registry)
