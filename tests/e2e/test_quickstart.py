"""`retort quickstart --exit` from files to an answer over HTTP; the same command then reuses its work."""

import os
import subprocess
import sys
from pathlib import Path

import axe_core_python

from tests.serving._browser import CHROMIUM, browser_page
from tests.two_tastes import write_files

_REPOSITORY = Path(__file__).parents[2]
_AXE = Path(axe_core_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8")


def _quickstart(home: Path, *files: str) -> "subprocess.CompletedProcess[str]":
    bare = {name: value for name, value in os.environ.items() if name not in ("REDIS_URL", "DATABASE_URL")}
    environment = {**bare, "PYTHONPATH": str(_REPOSITORY), "RETORT_HOME": str(home / ".retort"), "COLUMNS": "120"}
    command = [sys.executable, "-m", "retort.offline.cli", "quickstart", *files, "--minutes", "0.2", "--exit"]
    return subprocess.run(command, capture_output=True, text=True, cwd=home, env=environment, timeout=600)


def test_a_log_becomes_a_server_that_answers(tmp_path: Path) -> None:
    write_files(tmp_path)
    first = _quickstart(tmp_path, "log.csv", "items.csv")
    assert first.returncode == 0, first.stdout + first.stderr
    for shown in ("popularity", "student, plain", "student, with texts", "published shop", "answered by the student"):
        assert shown in first.stdout
    assert "Jazz record number" in first.stdout or "Garden tool number" in first.stdout
    assert 'time_format = "%d.%m.%Y %H:%M"' in (tmp_path / "shop.toml").read_text()
    report = tmp_path / "runs" / "reports" / "shop.html"
    assert f"report: {report.relative_to(tmp_path)}" in first.stdout
    _look_at(report)
    again = _quickstart(tmp_path, "log.csv", "items.csv")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "shop.toml exists and is used" in again.stderr
    assert "train: already done" in again.stderr
    assert "answered by the student" in again.stdout


def _look_at(report: Path) -> None:
    """The report is whole in a browser, at phone and desktop width, and asks no network for anything."""
    text = report.read_text(encoding="utf-8")
    for shown in (
        *("Events a day", "Long tail", "Users by number of events", "robots left out", "Validation NDCG@10", "Loss"),
        *(
            "compared with popularity, %, 95 % interval",
            "compared with plain, %, 95 % interval",
            "by length of the history",
        ),
        *("by popularity of the item", "Map of items", "Five users", "Jazz record", "peak memory", "retort quickstart"),
    ):
        assert shown in text
    assert "http" not in text.replace("http-equiv", "")
    if CHROMIUM is None:
        return
    with browser_page(report.parents[2] / "profile") as page:
        page.open(report.as_uri())
        page.run(f"{_AXE}; 0")
        for width, dark in ((390, True), (1300, False)):
            scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            page.ask("Emulation.setEmulatedMedia", features=[scheme])
            page.ask(
                "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500
            )
            assert page.run("document.documentElement.scrollWidth <= window.innerWidth")
            assert page.run("document.querySelectorAll('svg').length") >= 8
            found = "r => r.violations.map(v => v.id + ': ' + v.nodes[0].html.slice(0, 150))"
            assert page.run(f"axe.run(document, {{resultTypes: ['violations']}}).then({found})") == []
        assert not page.complaints


def test_a_wrong_file_is_refused_in_one_sentence_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("when,price\n2025-01-01,3.5\n2025-01-02,4.5\n")
    done = _quickstart(tmp_path, "log.csv")
    assert done.returncode == 2
    assert "name the columns with --user and --item" in done.stderr
    assert not (tmp_path / "shop.toml").exists()


def test_a_recipe_of_other_files_is_not_used_for_this_log(tmp_path: Path) -> None:
    write_files(tmp_path)
    (tmp_path / "shop.toml").write_text('extends = "shop"\n[data.options]\ninteractions = "log.csv"\n')
    for files, message in (
        (("old.csv",), "was written for log.csv, and the command names old.csv"),
        (("log.csv", "items.csv"), "was written for no items file, and the command names items.csv"),
    ):
        done = _quickstart(tmp_path, *files)
        assert done.returncode == 2
        assert message in done.stderr
