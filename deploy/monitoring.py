"""Generator of the Prometheus alert rules and the Grafana dashboard: `python -m deploy.monitoring` writes both.

Every metric in an expression must exist in the code: a renamed metric fails this program instead of disabling an alert.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from deploy.dashboard import ANNOTATIONS, PANELS, ROWS, VARIABLES
from deploy.grafana_json import dashboard_json
from deploy.promql import quantile, rate, share
from retort.offline.monitoring import families
from retort.serving.runtime.metrics import Metrics

HERE = Path(__file__).parent
RULES = HERE / "prometheus" / "rules.yml"
DASHBOARD = HERE / "grafana" / "dashboards" / "retort.json"
RUNBOOK = "docs/operations.md"
_NAME = re.compile(r"\bretort_[a-z_]+\b")


@dataclass(frozen=True)
class Alert:
    """An alert rule. for_: how long the expression must hold. The runbook has a heading with the alert's name."""

    name: str
    expr: str
    for_: str
    severity: str
    summary: str


_REQUESTS = rate("retort_requests_total")
_FAILED = rate("retort_requests_total", where='status=~"5.."')
_ANSWERS = rate("retort_answers_total")
_OTHERS = rate("retort_answers_total", where='source!="student"')

ALERTS = (
    Alert("RetortDown", 'up{job="retort-api"} == 0', "1m", "page", "Prometheus cannot scrape an API container."),
    Alert("RetortAbsent", 'absent(up{job="retort-api"})', "2m", "page", "Prometheus knows no API container."),
    Alert(
        "RetortErrors",
        f"{share(_FAILED, _REQUESTS)} > 0.01",
        "5m",
        "page",
        "More than 1 % of requests end with a 5xx status, refused requests included.",
    ),
    Alert(
        "RetortSlow",
        f"{quantile(0.99, 'retort_request_seconds')} > 0.25",
        "10m",
        "page",
        "The 99th percentile of the request latency is above 250 ms.",
    ),
    Alert(
        "RetortFallbacks",
        f"{share(_OTHERS, _ANSWERS)} > 0.2",
        "15m",
        "ticket",
        "More than 20 % of responses are fallbacks, not from the student.",
    ),
    Alert(
        "RetortStoreFailing",
        f"{rate('retort_store_failures_total')} > 0.1",
        "2m",
        "page",
        "Calls to the Redis of the histories fail.",
    ),
    Alert(
        "RetortRefusing",
        f"{rate('retort_refused_requests_total')} > 1",
        "5m",
        "page",
        "Requests are refused under overload: capacity is too low.",
    ),
    Alert(
        "RetortSwapRefused",
        'sum by (alias) (increase(retort_bundle_swaps_total{outcome!="taken"}[15m])) > 0',
        "0m",
        "ticket",
        "A published bundle was refused; the previous one still serves.",
    ),
    Alert(
        "RetortVersionsDiffer",
        "count by (tenant, alias) (count by (tenant, alias, version) (retort_model_info == 1)) > 1",
        "10m",
        "ticket",
        "API containers serve different versions of one alias.",
    ),
    Alert(
        "RetortNoEvents",
        f"{rate('retort_events_total')} == 0 and {_REQUESTS} > 1",
        "30m",
        "ticket",
        "Recommendations are requested, but no events arrive.",
    ),
    Alert(
        "RetortExposuresLost",
        'sum(increase(retort_exposures_written_total{outcome="dropped"}[15m])) > 0',
        "0m",
        "ticket",
        "Exposures were dropped before they reached the database.",
    ),
    Alert(
        "RetortRegistryAway",
        "sum(increase(retort_registry_failures_total[10m])) > 10",
        "10m",
        "ticket",
        "The registry watcher cannot read from the database which bundle is the champion.",
    ),
    Alert(
        "RetortWorkersDying",
        "sum by (instance) (increase(retort_worker_starts_total[15m])) > 3",
        "0m",
        "ticket",
        "Serving processes are restarted repeatedly.",
    ),
    Alert(
        "RetortBlind",
        'absent(up{job="retort-exporter"} == 1) or retort_store_answered == 0',
        "5m",
        "ticket",
        "A store of the offline side is not monitored: the store or `retort metrics` is unavailable.",
    ),
    Alert(
        "RetortQueueWaits",
        "retort_queue_oldest_seconds > 3600",
        "5m",
        "ticket",
        "A task has waited for a worker for more than an hour.",
    ),
    Alert(
        "RetortStreamGrows",
        'retort_stream_entries{stream="events"} > 50000',
        "15m",
        "page",
        "Events are not moved to the database; they fill the Redis of the histories.",
    ),
    Alert(
        "RetortRefreshFailed",
        'retort_refresh_status{status=~"failed|stopped"} == 1',
        "0m",
        "ticket",
        "The latest refresh of profiles failed, or has exhausted its budget.",
    ),
    Alert(
        "RetortRefreshStands",
        'retort_refresh_status{status="running"} == 1 and retort_refresh_users_per_second == 0',
        "30m",
        "ticket",
        "A refresh is running but completes no users.",
    ),
    Alert(
        "RetortConnectionsShort",
        "sum(retort_database_connections) > 0.8 * scalar(retort_database_connections_limit)",
        "5m",
        "ticket",
        "More than 80 % of PostgreSQL's connections are in use.",
    ),
)


def known_metrics() -> set[str]:
    """Names of all series that serving and `retort metrics` export."""
    names: set[str] = set(families.NAMES)
    for family in Metrics().registry.collect():
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        names |= {family.name + suffix for suffix in suffixes}
    return names


def unknown_metrics() -> set[str]:
    """Metrics that alerts, panels and annotations use but no program exports."""
    expressions = [alert.expr for alert in ALERTS] + [mark.query for mark in ANNOTATIONS]
    expressions += [query for panel in PANELS for query in panel.queries.values()]
    used = {name for expression in expressions for name in _NAME.findall(expression)}
    return used - known_metrics()


def rules() -> str:
    """Content of the Prometheus rule file: JSON, which is valid YAML and needs no YAML library."""
    alerts = [
        {
            "alert": alert.name,
            "expr": alert.expr,
            "for": alert.for_,
            "labels": {"severity": alert.severity},
            "annotations": {"summary": alert.summary, "runbook": f"{RUNBOOK}#{alert.name.lower()}"},
        }
        for alert in ALERTS
    ]
    return json.dumps({"groups": [{"name": "retort", "rules": alerts}]}, indent=2) + "\n"


def dashboard() -> str:
    """Content of the Grafana dashboard."""
    return dashboard_json(ROWS, VARIABLES, ANNOTATIONS)


def main() -> None:
    """Write both files."""
    if missing := unknown_metrics():
        raise SystemExit(f"no program exports {', '.join(sorted(missing))}; correct the names in deploy/monitoring.py.")
    RULES.write_text(rules())
    DASHBOARD.write_text(dashboard())


if __name__ == "__main__":
    main()
