"""JSON of a Grafana dashboard: rows of panels, tiles and tables over one Prometheus."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH = 24  # columns of Grafana's grid
_BY_LABEL = "Value #"  # Grafana's name of a query's column in a merged table

Kind = Literal["timeseries", "stat", "table"]


@dataclass(frozen=True)
class Panel:
    """A panel of the dashboard.

    Attributes:
        title: Title.
        queries: Legend → query; of a table: title of the column → query.
        unit: Grafana's unit.
        kind: A chart, a tile with one number, or a table.
        width: Columns of the grid, which has 24.
        steps: Value → colour from that value on, first for all values.
        description: What to do about it, or how it is computed.
        units: Column of a table → unit, where it differs.
    """

    title: str
    queries: Mapping[str, str]
    unit: str = "short"
    kind: Kind = "timeseries"
    width: int = 12
    steps: Sequence[tuple[float | None, str]] = ()
    description: str = ""
    units: Mapping[str, str] = field(default_factory=dict)

    @property
    def height(self) -> int:
        """Rows of the grid."""
        return {"timeseries": 8, "stat": 4, "table": 7}[self.kind]


@dataclass(frozen=True)
class Row:
    """A row of panels. open: whether it is shown unfolded at first."""

    title: str
    panels: tuple[Panel, ...]
    open: bool = True


@dataclass(frozen=True)
class Annotation:
    """A mark on all charts where a query has a value. text: may name labels in double braces."""

    name: str
    colour: str
    query: str
    text: str


def dashboard_json(rows: Sequence[Row], variables: Sequence[Mapping[str, Any]], marks: Sequence[Annotation]) -> str:
    """Return the dashboard as Grafana reads it."""
    dashboard = {
        "uid": "retort",
        "title": "Retort",
        "tags": ["retort"],
        "timezone": "utc",
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,  # one crosshair for all charts
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": list(variables)},
        "annotations": {"list": [_annotation(mark) for mark in marks]},
        "panels": list(_panels(rows)),
    }
    return json.dumps(dashboard, indent=2) + "\n"


def _annotation(mark: Annotation) -> dict[str, Any]:
    return {
        "name": mark.name,
        "datasource": SOURCE,
        "enable": True,
        "iconColor": mark.colour,
        "expr": mark.query,
        "step": "60s",
        "titleFormat": mark.name,
        "textFormat": mark.text,
        "target": {"refId": "Anno", "expr": mark.query, "interval": "60s"},
    }


def _panels(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Yield all panels from top to bottom; a folded row holds its own."""
    number, y = 1, 0
    for row in rows:
        header = {"id": number, "type": "row", "title": row.title, "collapsed": not row.open}
        header["gridPos"] = {"x": 0, "y": y, "w": _WIDTH, "h": 1}
        placed, y = _placed(row.panels, number + 1, y + 1)
        number += 1 + len(placed)
        yield {**header, "panels": [] if row.open else placed}
        if row.open:
            yield from placed


def _placed(panels: Sequence[Panel], number: int, y: int) -> tuple[list[dict[str, Any]], int]:
    """Place panels from left to right; returns them and the first free line below."""
    placed: list[dict[str, Any]] = []
    x, height = 0, 0
    for panel in panels:
        if x + panel.width > _WIDTH:
            x, y, height = 0, y + height, 0
        position = {"x": x, "y": y, "w": panel.width, "h": panel.height}
        placed.append({"id": number + len(placed), "gridPos": position, **_panel(panel)})
        x, height = x + panel.width, max(height, panel.height)
    return placed, y + height


def _panel(panel: Panel) -> dict[str, Any]:
    is_table = panel.kind == "table"
    defaults: dict[str, Any] = {"unit": panel.unit}
    if panel.kind == "timeseries":
        defaults["min"] = 0
    if panel.steps:
        defaults["thresholds"] = {
            "mode": "absolute",
            "steps": [{"value": value, "color": colour} for value, colour in panel.steps],
        }
    shown: dict[str, Any] = {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "fieldConfig": {
            "defaults": defaults,
            "overrides": [_override(name, unit) for name, unit in panel.units.items()],
        },
        "targets": [
            _target(place, legend, query, panel.kind) for place, (legend, query) in enumerate(panel.queries.items())
        ],
    }
    if panel.kind == "stat":
        shown["options"] = {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "value" if panel.steps else "none",
            "graphMode": "area",
        }
    if is_table:
        shown["transformations"] = _merged(list(panel.queries))
    return shown


def _target(place: int, legend: str, query: str, kind: Kind) -> dict[str, Any]:
    target = {"refId": chr(ord("A") + place), "expr": query, "datasource": SOURCE}
    if kind == "table":
        return {**target, "instant": True, "range": False, "format": "table"}
    return {**target, "legendFormat": legend or "__auto"}


def _override(column: str, unit: str) -> dict[str, Any]:
    return {"matcher": {"id": "byName", "options": column}, "properties": [{"id": "unit", "value": unit}]}


def _merged(columns: Sequence[str]) -> list[dict[str, Any]]:
    """Join the queries of a table by their labels, and name their columns."""
    names = {f"{_BY_LABEL}{chr(ord('A') + place)}": column for place, column in enumerate(columns)}
    return [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": names, "indexByName": {}}},
    ]
