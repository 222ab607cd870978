"""Rows, tiles, variables and annotations of the Grafana dashboard that `python -m deploy.monitoring` writes.

Every panel is a query over metrics that a program exports. A row is what one person looks at: an overview, requests,
recommendations, A/B tests, models and stores, workers and profiles.
"""

from collections.abc import Mapping
from typing import Any

from deploy import promql
from deploy.grafana_json import SOURCE, Annotation, Panel, Row
from deploy.promql import share

_SELECTED = 'instance=~"$instance"'  # the variable of the same name
_API = f"{{{_SELECTED}}}"


def _rate(metric: str, by: str = "", where: str = "") -> str:
    return promql.rate(metric, by, where, selector=_SELECTED)


def _quantile(q: float, histogram: str, by: str = "") -> str:
    return promql.quantile(q, histogram, by, selector=_SELECTED)


def _counted(metric: str, by: str, where: str = "") -> str:
    """Return how often something was counted within the variable `window`."""
    matchers = ",".join(part for part in (_SELECTED, where) if part)
    return f"sum by ({by}) (increase({metric}{{{matchers}}}[$window]))"


_CLICK = 'type="click"'
_NEW_MODEL = (
    "count by (alias, name, version) (retort_model_info == 1) unless "
    "count by (alias, name, version) (retort_model_info offset $__interval == 1)"
)


def _click_through(by: str) -> Mapping[str, str]:
    """Return the columns of a table: lists that were shown, clicks, their quotient and half its 95 % interval."""
    clicks, shown = _counted("retort_exposed_events_total", by, _CLICK), _counted("retort_exposures_total", by)
    quotient = f"({clicks} or {shown} * 0) / ({shown} > 0)"
    return {
        "Lists shown": shown,
        "Clicks": f"{clicks} or {shown} * 0",
        "Click-through": quotient,
        "± (95 %)": f"1.96 * sqrt(clamp_min(({quotient}) * (1 - ({quotient})), 0) / ({shown} > 0))",
    }


_SHARES = {"Lists shown": "short", "Clicks": "short", "Click-through": "percentunit", "± (95 %)": "percentunit"}
_ONCE = "A click that names the list's impression; one list can have several. The interval is the usual approximation."
_FAILED = _rate("retort_requests_total", where='status=~"5.."')
_OTHERS = _rate("retort_answers_total", where='source!="student"')


def _over_time(by: str) -> str:
    return f"{_counted('retort_exposed_events_total', by, _CLICK)} / {_counted('retort_exposures_total', by)}"


ROWS = (
    Row(
        "Overview",
        (
            Panel("Requests", {"": _rate("retort_requests_total")}, "reqps", "stat", 4),
            Panel(
                "Latency, p99",
                {"": _quantile(0.99, "retort_request_seconds")},
                "s",
                "stat",
                4,
                ((None, "green"), (0.1, "orange"), (0.25, "red")),
            ),
            Panel(
                "Failed (5xx)",
                {"": share(_FAILED, _rate("retort_requests_total"))},
                "percentunit",
                "stat",
                4,
                ((None, "green"), (0.001, "orange"), (0.01, "red")),
            ),
            Panel(
                "Not from the student",
                {"": share(_OTHERS, _rate("retort_answers_total"))},
                "percentunit",
                "stat",
                4,
                ((None, "green"), (0.05, "orange"), (0.2, "red")),
                "Popular items, similar items or the user's own history in place of the student's list.",
            ),
            Panel(
                "Click-through in $window",
                {
                    "": f"sum(increase(retort_exposed_events_total{{{_SELECTED},{_CLICK}}}[$window])) / "
                    f"(sum(increase(retort_exposures_total{{{_SELECTED}}}[$window])) > 0)"
                },
                "percentunit",
                "stat",
                4,
            ),
            Panel(
                "Oldest waiting task",
                {"": "max(retort_queue_oldest_seconds)"},
                "s",
                "stat",
                4,
                ((None, "green"), (600, "orange"), (3600, "red")),
            ),
            Panel("Served version", {"{{alias}}: {{name}}@{{version}}": f"retort_model_info{_API} == 1"}, width=24),
        ),
    ),
    Row(
        "Requests",
        (
            Panel("Requests by status", {"{{status}}": _rate("retort_requests_total", "status")}, "reqps"),
            Panel(
                "Request latency",
                {f"p{round(q * 100)}": _quantile(q, "retort_request_seconds") for q in (0.5, 0.95, 0.99)},
                "s",
            ),
            Panel("Latency by stage, p99", {"{{stage}}": _quantile(0.99, "retort_stage_seconds", "stage")}, "s"),
            Panel("Refused requests", {"{{why}}": _rate("retort_refused_requests_total", "why")}, "reqps"),
            Panel("Requests in flight", {"{{instance}}": f"retort_requests_in_flight{_API}"}),
            Panel("Batch size", {"{{stage}}": _quantile(0.9, "retort_batch_size", "stage")}),
        ),
    ),
    Row(
        "Recommendations",
        (
            Panel("Responses by source", {"{{source}}": _rate("retort_answers_total", "source")}, "reqps"),
            Panel(
                "Fallbacks by reason",
                {"{{source}}: {{reason}}": _rate("retort_answers_total", "source, reason", 'reason!="none"')},
                "reqps",
            ),
            Panel("Events received", {"{{type}} {{outcome}}": _rate("retort_events_total", "type, outcome")}, "ops"),
            Panel("History length", {"median": _quantile(0.5, "retort_history_events")}),
        ),
    ),
    Row(
        "Click-through and A/B tests",
        (
            Panel(
                "By variant in $window",
                _click_through("experiment, variant"),
                kind="table",
                description=_ONCE,
                units=_SHARES,
            ),
            Panel("By source in $window", _click_through("source"), kind="table", description=_ONCE, units=_SHARES),
            Panel(
                "Click-through by variant",
                {"{{experiment}} {{variant}}": _over_time("experiment, variant")},
                "percentunit",
            ),
            Panel("Click-through by source", {"{{source}}": _over_time("source")}, "percentunit"),
            Panel("Overlap with the shadow bundle", {"median": _quantile(0.5, "retort_shadow_overlap")}, "percentunit"),
            Panel("Exposures written", {"{{outcome}}": _rate("retort_exposures_written_total", "outcome")}, "ops"),
        ),
    ),
    Row(
        "Models and stores",
        (
            Panel(
                "Bundle swaps",
                {"{{alias}} {{outcome}}": "sum by (alias, outcome) (increase(retort_bundle_swaps_total[1h]))"},
            ),
            Panel(
                "Redis",
                {
                    "{{call}} failed": _rate("retort_store_failures_total", "call"),
                    "not called": _rate("retort_breaker_refusals_total"),
                },
                "ops",
            ),
            Panel("Events and exposures not yet drained", {"{{stream}}": "retort_stream_entries"}),
            Panel("PostgreSQL connections", {"{{application}} {{state}}": "retort_database_connections"}),
        ),
    ),
    Row(
        "Workers and profiles",
        (
            Panel("Queued tasks", {"{{queue}}": "retort_queue_tasks", "taken by workers": "retort_queue_taken_tasks"}),
            Panel("Age of the oldest queued task", {"{{queue}}": "retort_queue_oldest_seconds"}, "s"),
            Panel(
                "Progress of the latest refresh",
                {"{{refresh}}": "retort_refresh_users_done / clamp_min(retort_refresh_users, 1)"},
                "percentunit",
            ),
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
                    # a gauge: no rate
                    f"p{round(q * 100)}": f"histogram_quantile({q}, retort_profile_age_seconds_bucket)"
                    for q in (0.5, 0.9)
                },
                "s",
            ),
            Panel("Cost of the stored profiles", {"{{model}}": "retort_profile_cost_usd"}, "currencyUSD"),
        ),
        open=False,
    ),
)
PANELS = tuple(panel for row in ROWS for panel in row.panels)

VARIABLES: tuple[dict[str, Any], ...] = (
    {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
    {
        "name": "instance",
        "label": "API",
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": 'label_values(up{job="retort-api"}, instance)', "refId": "instance"},
        "definition": 'label_values(up{job="retort-api"}, instance)',
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    },
    {
        "name": "window",
        "label": "Click-through over",
        "type": "interval",
        "query": "1h,6h,1d,7d,30d",
        "current": {"text": "1d", "value": "1d"},
        "options": [{"text": one, "value": one, "selected": one == "1d"} for one in ("1h", "6h", "1d", "7d", "30d")],
    },
)
ANNOTATIONS = (
    Annotation("A model serves", "green", _NEW_MODEL, "{{alias}}: {{name}}@{{version}} serves"),
    Annotation(
        "A bundle was refused",
        "red",
        'sum by (alias, outcome) (increase(retort_bundle_swaps_total{outcome!="taken"}[$__interval])) > 0',
        "{{alias}}: {{outcome}}; GET /models says why",
    ),
)
