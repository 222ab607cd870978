"""Prometheus metrics of serving. No label holds a user, an item or a key."""

from collections.abc import Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.multiprocess import MultiProcessCollector

_FAST_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_LENGTHS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
# Labels of a list: the variant of the A/B test and the origin of the list.
_LIST_LABELS = ("experiment", "variant", "source")


class Metrics:
    """Metrics of one application; label children are cached because the fast path uses them for each request.

    Args:
        shared_dir: Directory in which several workers share their values; None for a single process.
    """

    def __init__(self, shared_dir: Path | None = None) -> None:
        self._shared_dir = shared_dir
        self.registry = CollectorRegistry()
        self._children: dict[tuple[object, ...], MetricWrapperBase] = {}
        self._add_requests()
        self._add_answers()
        self._add_stages()
        self._add_stores()
        self._add_bundles()
        self._add_ab_tests()
        self._add_faults()

    def _add_requests(self) -> None:
        self.requests = self._counter("retort_requests_total", "Requests by route and status.", "route", "status")
        self.request_seconds = self._histogram("retort_request_seconds", "Request latency in seconds.", "route")
        self.refused = self._counter("retort_refused_requests_total", "Requests refused under overload.", "why")
        self.in_flight = Gauge(
            "retort_requests_in_flight", "Requests in flight.", registry=self.registry, multiprocess_mode="livesum"
        )

    def _add_answers(self) -> None:
        self.answers = self._counter(
            "retort_answers_total", "Recommendations by source and fallback reason.", "source", "reason"
        )
        self.answer_seconds = self._histogram(
            "retort_answer_seconds", "Latency of one recommendation in seconds.", *_LIST_LABELS
        )
        self.exposures = self._counter("retort_exposures_total", "Exposures: lists that were shown.", *_LIST_LABELS)
        self.exposed_items = self._counter("retort_exposed_items_total", "Items in the exposures.", *_LIST_LABELS)
        self.exposed_events = self._counter(
            "retort_exposed_events_total",
            "Events attributed to the list that showed their item.",
            *_LIST_LABELS,
            "type",
        )
        self.history_events = self._histogram(
            "retort_history_events", "Events in a history that was read.", buckets=_LENGTHS
        )

    def _add_stages(self) -> None:
        self.batch_sizes = self._histogram(
            "retort_batch_size",
            "Requests in one batch: a round trip to Redis or a run of the graph.",
            "stage",
            buckets=_SIZES,
        )
        self.stage_seconds = self._histogram(
            "retort_stage_seconds",
            "Latency by stage in seconds: history (a round trip to Redis), queue (waiting for the graph), student (a "
            "run of the graph), rules (re-ranking one list).",
            "stage",
        )

    def _add_stores(self) -> None:
        self.events = self._counter("retort_events_total", "Events by type and outcome.", "type", "outcome")
        self.store_failures = self._counter("retort_store_failures_total", "Calls to Redis that failed.", "call")
        self.breaker_refusals = self._counter(
            "retort_breaker_refusals_total", "Calls to Redis refused by the open circuit breaker."
        )
        self.local_limits = self._counter(
            "retort_limits_by_worker_total", "Requests whose rate limit was checked by the worker alone, without Redis."
        )
        self.exposures_written = self._counter(
            "retort_exposures_written_total",
            "Exposures on their way to the database, by outcome (written, dropped).",
            "outcome",
        )

    def _add_bundles(self) -> None:
        self.model = Gauge(
            "retort_model_info",
            "1 for the bundle that is being served.",
            ["tenant", "alias", "name", "version"],
            registry=self.registry,
            multiprocess_mode="livemax",
        )
        self.swaps = self._counter(
            "retort_bundle_swaps_total",
            "Bundle swaps by outcome (taken, refused, failed).",
            "tenant",
            "alias",
            "outcome",
        )

    def _add_ab_tests(self) -> None:
        self.variant_events = self._counter(
            "retort_variant_events_total", "Events by variant of the A/B test.", "experiment", "variant", "type"
        )
        self.variants_refused = self._counter(
            "retort_variants_refused_total",
            "Variants that their bundle cannot serve.",
            "experiment",
            "variant",
        )
        self.shadows = self._counter("retort_shadows_total", "Shadow requests by outcome.", "outcome")
        self.shadow_overlap = self._histogram(
            "retort_shadow_overlap", "Share of the shown items that the shadow's list also holds.", buckets=_SHARES
        )

    def _add_faults(self) -> None:
        self.registry_failures = self._counter(
            "retort_registry_failures_total", "Reads of the model registry that failed: database missing or down."
        )
        self.clock_jumps = self._counter(
            "retort_clock_jumps_total", "Jumps of the system clock that were not followed at once."
        )
        # More starts than RETORT_WORKERS mean that workers died and were replaced.
        self.worker_starts = self._counter("retort_worker_starts_total", "Workers that have started to serve.")

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Count a finished request."""
        self._count(self.requests, route, str(status))
        self._observe(self.request_seconds, seconds, route)

    def count_refusal(self, reason: str, status: int) -> None:
        """Count a request that is refused before any work; its latency would distort the histogram."""
        self._count(self.refused, reason)
        self._count(self.requests, "refused", str(status))

    def count_answer(self, source: str, reason: str | None) -> None:
        """Count a recommendation."""
        self._count(self.answers, source, reason or "none")

    def count_shown(self, experiment: str, variant: str, source: str, n_items: int, seconds: float) -> None:
        """Count a list that was returned to a caller, and observe the seconds that it took to make."""
        self._count(self.exposures, experiment, variant, source)
        self._count(self.exposed_items, experiment, variant, source, by=n_items)
        self._observe(self.answer_seconds, seconds, experiment, variant, source)

    def observe_stage(self, stage: str, seconds: float) -> None:
        """Observe the latency of one stage of a recommendation."""
        self._observe(self.stage_seconds, seconds, stage)

    def render(self) -> bytes:
        """Return Prometheus' text format, summed over all workers."""
        return generate_latest(self._combined())

    def samples(self, name: str) -> list[tuple[dict[str, str], float]]:
        """Return labels and value of each sample of this name, summed over all workers."""
        metrics = self._combined().collect()
        return [(item.labels, item.value) for metric in metrics for item in metric.samples if item.name == name]

    def _combined(self) -> CollectorRegistry:
        if self._shared_dir is None:
            return self.registry
        combined = CollectorRegistry()
        MultiProcessCollector(combined, path=str(self._shared_dir))  # type: ignore[no-untyped-call]
        return combined

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

    def _counter(self, name: str, description: str, *labels: str) -> Counter:
        return Counter(name, description, labels, registry=self.registry)

    def _histogram(self, name: str, description: str, *labels: str, buckets: Sequence[float] = _FAST_S) -> Histogram:
        return Histogram(name, description, labels, buckets=buckets, registry=self.registry)
