"""What Prometheus sees. No label ever holds a user, an item or a key."""

from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from serving.fault_metrics import FaultMetrics

_FAST_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """One set for each application; label children that the hot path needs are kept."""

    def __init__(self, shared_dir: Path | None = None) -> None:
        self._shared_dir = shared_dir
        self.registry = CollectorRegistry()
        own = self.registry
        self.faults = FaultMetrics(own)
        self.requests = Counter(
            "retort_requests_total", "Requests by route and status.", ["route", "status"], registry=own
        )
        self.seconds = Histogram(
            "retort_request_seconds", "Time in the house.", ["route"], buckets=_FAST_S, registry=own
        )
        self.answers = Counter(
            "retort_answers_total", "Recommendations by who answered and why.", ["source", "reason"], registry=own
        )
        self.batch_sizes = Histogram(
            "retort_batch_size",
            "Requests in one round trip or one run of the graph.",
            ["stage"],
            buckets=_SIZES,
            registry=own,
        )
        self.stage_seconds = Histogram(
            "retort_stage_seconds",
            "Time of one round trip or one run of the graph.",
            ["stage"],
            buckets=_FAST_S,
            registry=own,
        )
        self.events = Counter("retort_events_total", "Events by type and outcome.", ["type", "outcome"], registry=own)
        self.store_failures = Counter(
            "retort_store_failures_total", "Calls to Redis that failed.", ["call"], registry=own
        )
        self.breaker_open = Counter(
            "retort_breaker_refusals_total", "Calls not made because Redis was resting.", registry=own
        )
        self.refused = Counter("retort_refused_requests_total", "Requests turned away.", ["why"], registry=own)
        self.waiting = Gauge(
            "retort_requests_in_flight", "Requests in the house.", registry=own, multiprocess_mode="livesum"
        )
        self.model = Gauge(
            "retort_model_info",
            "1 for the bundle that serves.",
            ["tenant", "alias", "name", "version"],
            registry=own,
            multiprocess_mode="livemax",
        )
        self.swaps = Counter(
            "retort_bundle_swaps_total", "Bundles taken or refused.", ["tenant", "alias", "outcome"], registry=own
        )
        self.exposures = Counter(
            "retort_exposures_total", "Answers by variant.", ["experiment", "variant", "source"], registry=own
        )
        self.variant_events = Counter(
            "retort_variant_events_total", "Events by variant.", ["experiment", "variant", "type"], registry=own
        )
        self.shadows = Counter("retort_shadows_total", "Shadow answers by outcome.", ["outcome"], registry=own)
        self.shadow_overlap = Histogram(
            "retort_shadow_overlap",
            "Share of the shown items that the shadow shows too.",
            buckets=(0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
            registry=own,
        )
        self._children: dict[tuple[object, ...], Counter] = {}

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """One finished request."""
        self._child(self.requests, route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def count_answer(self, source: str, reason: str | None) -> None:
        """One recommendation, by label."""
        self._child(self.answers, source, reason or "none").inc()

    def _child(self, counter: Counter, *labels: str) -> Counter:
        key = (counter, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = counter.labels(*labels)
        return child

    def render(self) -> bytes:
        """The text format, over all workers where there are several."""
        if self._shared_dir is None:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together, path=str(self._shared_dir))  # type: ignore[no-untyped-call]
        return generate_latest(together)
