"""Generator of the Prometheus alert rules and the Grafana dashboard: `python -m deploy.monitoring` writes both.

Every metric in an expression must exist in the code: a renamed metric fails this program instead of disabling an alert.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True)
class Panel:
    """A panel of the dashboard: title, query by legend, and Grafana unit."""

    title: str
    queries: dict[str, str]
    unit: str = "short"


def _rate(metric: str, by: str = "", where: str = "") -> str:
    summed = f"sum by ({by}) " if by else "sum"
    return f"{summed}(rate({metric}{{{where}}}[5m]))" if where else f"{summed}(rate({metric}[5m]))"


def _quantile(q: float, histogram: str, by: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, sum by ({labels}) (rate({histogram}_bucket[5m])))"


def _share(part: str, whole: str) -> str:
    return f"{part} / clamp_min({whole}, 1e-9)"


_REQUESTS = _rate("retort_requests_total")
_FAILED = _rate("retort_requests_total", where='status=~"5.."')
_ANSWERS = _rate("retort_answers_total")
_OTHERS = _rate("retort_answers_total", where='source!="student"')
_CLICKS = 'sum by ({by}) (rate(retort_exposed_events_total{{type="click"}}[1h]))'
_SHOWN = "sum by ({by}) (rate(retort_exposures_total[1h]))"


def _click_through(by: str) -> str:
    return f"{_CLICKS.format(by=by)} / {_SHOWN.format(by=by)}"


_PROGRESS = "retort_refresh_users_done / clamp_min(retort_refresh_users, 1)"

ALERTS = (
    Alert("RetortDown", 'up{job="retort-api"} == 0', "1m", "page", "Prometheus cannot scrape an API container."),
    Alert("RetortAbsent", 'absent(up{job="retort-api"})', "2m", "page", "Prometheus knows no API container."),
    Alert(
        "RetortErrors",
        f"{_share(_FAILED, _REQUESTS)} > 0.01",
        "5m",
        "page",
        "More than 1 % of requests end with a 5xx status, refused requests included.",
    ),
    Alert(
        "RetortSlow",
        f"{_quantile(0.99, 'retort_request_seconds')} > 0.25",
        "10m",
        "page",
        "The 99th percentile of the request latency is above 250 ms.",
    ),
    Alert(
        "RetortFallbacks",
        f"{_share(_OTHERS, _ANSWERS)} > 0.2",
        "15m",
        "ticket",
        "More than 20 % of responses are fallbacks, not from the student.",
    ),
    Alert(
        "RetortStoreFailing",
        f"{_rate('retort_store_failures_total')} > 0.1",
        "2m",
        "page",
        "Calls to the Redis of the histories fail.",
    ),
    Alert(
        "RetortRefusing",
        f"{_rate('retort_refused_requests_total')} > 1",
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
        f"{_rate('retort_events_total')} == 0 and {_REQUESTS} > 1",
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

PANELS = (
    Panel("Requests by status", {"{{status}}": _rate("retort_requests_total", "status")}, "reqps"),
    Panel(
        "Request latency",
        {f"p{round(q * 100)}": _quantile(q, "retort_request_seconds") for q in (0.5, 0.95, 0.99)},
        "s",
    ),
    Panel("Latency by stage, p99", {"{{stage}}": _quantile(0.99, "retort_stage_seconds", "stage")}, "s"),
    Panel("Responses by source", {"{{source}}": _rate("retort_answers_total", "source")}, "reqps"),
    Panel(
        "Fallbacks by reason",
        {"{{source}}: {{reason}}": _rate("retort_answers_total", "source, reason", 'reason!="none"')},
        "reqps",
    ),
    Panel("Events received", {"{{type}} {{outcome}}": _rate("retort_events_total", "type, outcome")}, "ops"),
    Panel(
        "Click-through by variant", {"{{experiment}} {{variant}}": _click_through("experiment, variant")}, "percentunit"
    ),
    Panel("Click-through by source", {"{{source}}": _click_through("source")}, "percentunit"),
    Panel("Served version", {"{{alias}} {{name}} {{version}}": "retort_model_info == 1"}),
    Panel(
        "Bundle swaps", {"{{alias}} {{outcome}}": "sum by (alias, outcome) (increase(retort_bundle_swaps_total[1h]))"}
    ),
    Panel(
        "Redis",
        {
            "{{call}} failed": _rate("retort_store_failures_total", "call"),
            "not called": _rate("retort_breaker_refusals_total"),
        },
        "ops",
    ),
    Panel("Refused requests", {"{{why}}": _rate("retort_refused_requests_total", "why")}, "reqps"),
    Panel("Requests in flight", {"{{instance}}": "retort_requests_in_flight"}),
    Panel("History length", {"median": _quantile(0.5, "retort_history_events")}),
    Panel("Batch size", {"{{stage}}": _quantile(0.9, "retort_batch_size", "stage")}),
    Panel("Exposures written", {"{{outcome}}": _rate("retort_exposures_written_total", "outcome")}, "ops"),
    Panel("Overlap with the shadow bundle", {"median": _quantile(0.5, "retort_shadow_overlap")}, "percentunit"),
    Panel("Queued tasks", {"{{queue}}": "retort_queue_tasks", "taken by workers": "retort_queue_taken_tasks"}),
    Panel("Age of the oldest queued task", {"{{queue}}": "retort_queue_oldest_seconds"}, "s"),
    Panel("Events and exposures not yet drained", {"{{stream}}": "retort_stream_entries"}),
    Panel("PostgreSQL connections", {"{{application}} {{state}}": "retort_database_connections"}),
    Panel("Progress of the latest refresh", {"{{refresh}}": _PROGRESS}, "percentunit"),
    Panel("Refresh rate in users per second", {"{{refresh}}": "retort_refresh_users_per_second"}),
    Panel(
        "Refresh tokens per day",
        {"{{refresh}} {{kind}}": "sum by (refresh, kind) (increase(retort_refresh_tokens_total[1d]))"},
    ),
    Panel(
        "Refresh cost per day",
        {"{{refresh}}": "sum by (refresh) (increase(retort_refresh_cost_usd_total[1d]))"},
        "currencyUSD",
    ),
    Panel(
        "Age of profiles",
        {
            f"p{round(q * 100)}": f"histogram_quantile({q}, retort_profile_age_seconds_bucket)"  # a gauge: no rate
            for q in (0.5, 0.9)
        },
        "s",
    ),
    Panel("Cost of the stored profiles", {"{{model}}": "retort_profile_cost_usd"}, "currencyUSD"),
)


def known_metrics() -> set[str]:
    """Names of all series that serving and `retort metrics` export."""
    names: set[str] = set(families.NAMES)
    for family in Metrics().registry.collect():
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        names |= {family.name + suffix for suffix in suffixes}
    return names


def unknown_metrics() -> set[str]:
    """Metrics that alerts and panels use but no program exports."""
    expressions = [alert.expr for alert in ALERTS] + [query for panel in PANELS for query in panel.queries.values()]
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
    """Content of the Grafana dashboard, two panels a row."""
    return (
        json.dumps(
            {
                "uid": "retort",
                "title": "Retort",
                "timezone": "utc",
                "schemaVersion": 39,
                "refresh": "30s",
                "time": {"from": "now-6h", "to": "now"},
                "panels": [_panel_as_json(place, panel) for place, panel in enumerate(PANELS)],
            },
            indent=2,
        )
        + "\n"
    )


def _panel_as_json(place: int, panel: Panel) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "prometheus"}
    return {
        "id": place + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": source,
        "gridPos": {"x": place % 2 * 12, "y": place // 2 * 8, "w": 12, "h": 8},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + row), "expr": query, "legendFormat": legend, "datasource": source}
            for row, (legend, query) in enumerate(panel.queries.items())
        ],
    }


def main() -> None:
    """Write both files."""
    if missing := unknown_metrics():
        raise SystemExit(f"no program exports {', '.join(sorted(missing))}; correct the names in deploy/monitoring.py.")
    RULES.write_text(rules())
    DASHBOARD.write_text(dashboard())


if __name__ == "__main__":
    main()
