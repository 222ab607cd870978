"""Every metric of `retort metrics`: name, meaning, labels. Alerts and dashboard are checked against this list."""

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

_REFRESH = ("tenant", "refresh")
_GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "retort_store_answered": ("1 for a store that could be asked.", ("store",)),
    "retort_queue_tasks": ("Tasks that wait for a worker.", ("queue",)),
    "retort_queue_oldest_seconds": ("For how long the task that is next has waited; 0: none waits.", ("queue",)),
    "retort_queue_taken_tasks": ("Tasks that workers have taken and not finished.", ()),
    "retort_stream_entries": ("Entries that the drain has not brought to the database yet.", ("stream",)),
    "retort_refresh_users": ("Users of the latest refresh.", _REFRESH),
    "retort_refresh_users_done": ("Users of it that are done.", _REFRESH),
    "retort_refresh_users_per_second": ("Its latest rate.", _REFRESH),
    "retort_refresh_texts_failed": ("Profiles that it could not write.", _REFRESH),
    "retort_refresh_status": ("1 for how it stands.", (*_REFRESH, "status")),
    "retort_runs": ("Submitted runs by status.", ("tenant", "status")),
    "retort_database_connections": ("Connections by program and state.", ("application", "state")),
    "retort_database_connections_limit": ("Connections that the server allows.", ()),
    "retort_profiles": ("Profiles in the database.", ("model",)),
    "retort_profile_tokens": ("Tokens that they took.", ("model", "kind")),
    "retort_profile_cost_usd": ("What they cost, where prices are stated.", ("model",)),
}
# Without the suffix _total, which the library adds.
_COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "retort_refresh_tokens": ("Tokens that refreshes have read and written, all attempts.", (*_REFRESH, "kind")),
    "retort_refresh_cost_usd": ("What refreshes have cost, where prices are stated.", _REFRESH),
}
_AGES = "retort_profile_age_seconds"
# What Prometheus stores.
NAMES = frozenset({*_GAUGES, *(f"{name}_total" for name in _COUNTERS), f"{_AGES}_bucket"})


def gauge(name: str) -> GaugeMetricFamily:
    """A fresh family, to be filled at one look."""
    about, labels = _GAUGES[name]
    return GaugeMetricFamily(name, about, labels=labels)


def counter(name: str) -> CounterMetricFamily:
    """The same, of what only grows."""
    about, labels = _COUNTERS[name]
    return CounterMetricFamily(name, about, labels=labels)


def ages() -> HistogramMetricFamily:
    """Of each user's newest profile."""
    return HistogramMetricFamily(_AGES, "Users by the age of their newest profile.")
