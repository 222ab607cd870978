"""Alert rules and dashboard: generated, up to date, about existing metrics, each alert with a runbook section."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy import monitoring

_RUNBOOK = Path(__file__).parents[2] / monitoring.RUNBOOK


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


def test_panels_have_unique_ids_and_positions() -> None:
    panels = json.loads(monitoring.dashboard())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) == len(monitoring.PANELS)
    assert len({tuple(sorted(panel["gridPos"].items())) for panel in panels}) == len(panels)


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
