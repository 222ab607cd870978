"""Metric families of `retort metrics`: name, help text, labels. Tests compare alerts and dashboards with this list."""

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

_REFRESH = ("tenant", "refresh")
_GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "retort_store_answered": ("1 if the store answered, otherwise 0.", ("store",)),
    "retort_queue_tasks": ("Tasks that wait for a worker.", ("queue",)),
    "retort_queue_oldest_seconds": ("Waiting time of the next task; 0 if none waits.", ("queue",)),
    "retort_queue_taken_tasks": ("Tasks that workers have received and not finished.", ()),
    "retort_stream_entries": ("Entries that the drain has not moved to the database yet.", ("stream",)),
    "retort_refresh_users": ("Users of the latest refresh.", _REFRESH),
    "retort_refresh_users_done": ("Users of the latest refresh that are done.", _REFRESH),
    "retort_refresh_users_per_second": ("Users per second of the latest refresh, over at most ten minutes.", _REFRESH),
    "retort_refresh_texts_failed": ("Profiles that the latest refresh could not write.", _REFRESH),
    "retort_refresh_status": ("1 for the status of the latest refresh.", (*_REFRESH, "status")),
    "retort_runs": ("Submitted runs by status.", ("tenant", "status")),
    "retort_database_connections": ("PostgreSQL connections by program and state.", ("application", "state")),
    "retort_database_connections_limit": ("PostgreSQL connections that the server allows.", ()),
    "retort_profiles": ("Profiles in the database.", ("model",)),
    "retort_profile_tokens": ("Tokens of the profiles in the database.", ("model", "kind")),
    "retort_profile_cost_usd": ("Cost of the profiles in the database, if the recipe states prices.", ("model",)),
}
# Without the suffix _total, which the library adds.
_COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "retort_refresh_tokens": ("Tokens of prompts and answers of refreshes, all attempts.", (*_REFRESH, "kind")),
    "retort_refresh_cost_usd": ("Cost of refreshes, if the recipe states prices.", _REFRESH),
}
_AGES = "retort_profile_age_seconds"
# Names under which Prometheus stores the samples.
NAMES = frozenset({*_GAUGES, *(f"{name}_total" for name in _COUNTERS), f"{_AGES}_bucket"})


def gauge(name: str) -> GaugeMetricFamily:
    """Create the empty family of a gauge."""
    help_text, labels = _GAUGES[name]
    return GaugeMetricFamily(name, help_text, labels=labels)


def counter(name: str) -> CounterMetricFamily:
    """Create the empty family of a counter."""
    help_text, labels = _COUNTERS[name]
    return CounterMetricFamily(name, help_text, labels=labels)


def ages() -> HistogramMetricFamily:
    """Create the empty histogram of profile ages."""
    return HistogramMetricFamily(_AGES, "Users by the age of their newest profile.")
