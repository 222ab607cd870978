"""Alert rules and dashboard: generated, up to date, about existing metrics, each alert with a runbook section."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploy import dashboard, monitoring

_RUNBOOK = Path(__file__).parents[2] / monitoring.RUNBOOK
# keys of Prometheus' annotations and variables, which the library leaves to the data source
_BEYOND_THE_SCHEMA = (
    r"\.templating\.list\[1\]\.definition|\.annotations\.list\[\d\]\.(step|titleFormat|textFormat|target\..*)"
)


def test_every_metric_in_an_expression_is_exported() -> None:
    assert monitoring.unknown_metrics() == set()
    assert {"retort_requests_total", "retort_stage_seconds_bucket", "retort_model_info"} <= monitoring.known_metrics()


def test_the_generated_files_are_up_to_date() -> None:
    again = "run `python -m deploy.monitoring` and commit what it wrote"
    assert monitoring.RULES.read_text() == monitoring.rules(), again
    assert monitoring.DASHBOARD.read_text() == monitoring.dashboard(), again


def test_every_alert_has_a_section_in_the_runbook() -> None:
    headings = set(re.findall(r"^#+ (\w+)$", _RUNBOOK.read_text(), flags=re.MULTILINE))
    assert {alert.name for alert in monitoring.ALERTS} <= headings


def _panels() -> list[dict[str, Any]]:
    """All panels, those of folded rows too, without the rows themselves."""
    found = []
    for panel in json.loads(monitoring.dashboard())["panels"]:
        found += [panel, *panel.get("panels", [])]
    return found


def test_panels_have_unique_ids_and_do_not_overlap() -> None:
    panels = _panels()
    assert len({panel["id"] for panel in panels}) == len(panels) == len(dashboard.PANELS) + len(dashboard.ROWS)
    shown = json.loads(monitoring.dashboard())["panels"]
    cells = [
        (x, y)
        for panel in shown
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) == 23


def test_each_panel_holds_its_queries_and_legends() -> None:
    targets = {panel["title"]: panel["targets"] for panel in _panels() if "targets" in panel}
    for panel in dashboard.PANELS:
        assert [target["expr"] for target in targets[panel.title]] == list(panel.queries.values())
        if panel.kind != "table":
            legends = [legend or "__auto" for legend in panel.queries]
            assert [target["legendFormat"] for target in targets[panel.title]] == legends


def test_variables_of_queries_are_defined() -> None:
    text = monitoring.dashboard()
    defined = {variable["name"] for variable in json.loads(text)["templating"]["list"]}
    assert set(re.findall(r"\$\{?([a-z]+)\}?", text)) == defined  # $__interval is Grafana's own


def test_grafanas_own_library_reads_the_dashboard_and_writes_the_same() -> None:
    """A check of the schema: no Grafana is run here."""
    library = pytest.importorskip(
        "grafana_foundation_sdk.models.dashboard", reason="pip install grafana-foundation-sdk"
    )
    encoder = pytest.importorskip("grafana_foundation_sdk.cog.encoder")
    known = json.loads(monitoring.dashboard())
    written = json.loads(encoder.JSONEncoder(sort_keys=True).encode(library.Dashboard.from_json(known)))
    lost = [path for path in _missing(known, written) if not re.fullmatch(_BEYOND_THE_SCHEMA, path)]
    assert lost == []


def _missing(given: Any, got: Any, where: str = "") -> list[str]:
    """Paths of values that the library did not keep."""
    if isinstance(given, dict):
        lost = [f"{where}.{key}" for key in given if not isinstance(got, dict) or key not in got]
        return lost + [one for key in given if key in got for one in _missing(given[key], got[key], f"{where}.{key}")]
    if isinstance(given, list):
        pairs = enumerate(zip(given, got, strict=True))
        return [one for place, (a, b) in pairs for one in _missing(a, b, f"{where}[{place}]")]
    return [] if given == got else [f"{where}: {given!r} became {got!r}"]


def test_promtool_accepts_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed; Debian's package `prometheus` has it")
    queries = [query for panel in dashboard.PANELS for query in panel.queries.values()]
    queries += [mark.query for mark in dashboard.ANNOTATIONS]
    values = {"$__interval": "1m", "$window": "1d", "$instance": ".*"}
    for name, value in values.items():
        queries = [query.replace(name, value) for query in queries]
    rules = [{"record": f"panel:{place}", "expr": query} for place, query in enumerate(queries)]
    (tmp_path / "panels.yml").write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run([promtool, "check", "rules", str(tmp_path / "panels.yml")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("what", [("rules", "prometheus/rules.yml"), ("config", "prometheus/prometheus.yml")])
def test_promtool_accepts_the_rules(what: tuple[str, str], tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed; Debian's package `prometheus` has it")
    kind, name = what
    text = (monitoring.HERE / name).read_text().replace("/etc/prometheus/rules.yml", str(monitoring.RULES))
    (tmp_path / "checked.yml").write_text(text)
    done = subprocess.run([promtool, "check", kind, str(tmp_path / "checked.yml")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
