"""Counters of what breaks around serving; what breaks in a request is counted in `serving/runtime/metrics.py`."""

from prometheus_client import CollectorRegistry, Counter


class FaultMetrics:
    """One set for each application, in the application's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry_failures = Counter(
            "retort_registry_failures_total",
            "Looks at the registry that failed: no database, no answer.",
            registry=registry,
        )
        self.clock_jumps = Counter(
            "retort_clock_jumps_total",
            "Leaps of the machine's clock that were not followed at once.",
            registry=registry,
        )
        # More starts than RETORT_WORKERS: workers died and were replaced.
        self.worker_starts = Counter(
            "retort_worker_starts_total", "Workers that have begun to serve.", registry=registry
        )
