"""`retort demo --exit` on a bare home: ends with 0, shows all three rows, and a second run reuses what is done."""

import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).parents[2]


def _demo(home: Path) -> str:
    bare = {name: value for name, value in os.environ.items() if name not in ("REDIS_URL", "DATABASE_URL")}
    environment = {**bare, "PYTHONPATH": str(_REPOSITORY), "RETORT_HOME": str(home / ".retort"), "COLUMNS": "120"}
    done = subprocess.run(
        [sys.executable, "-m", "retort.offline.cli", "demo", "--exit"],
        capture_output=True,
        text=True,
        cwd=home,
        env=environment,
        timeout=3600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
def test_the_demo_ends_with_its_table_and_reuses_its_work(tmp_path: Path) -> None:
    first = _demo(tmp_path)
    for shown in (
        *("Redis: ", "Database: sqlite", "Language model: ", "answered by the student", "curl "),
        *("made up with the demo's world", "clicked 20 times by rule", "as challenger", "paired over"),
    ):
        assert shown in first
    scores = {name: float(value) for name, value in re.findall(r"(popularity|plain|distilled) *│ *(0\.\d+)", first)}
    assert set(scores) == {"popularity", "plain", "distilled"}
    assert min(scores["plain"], scores["distilled"]) > scores["popularity"]
    with closing(sqlite3.connect(tmp_path / ".retort" / "retort.db")) as database:
        assert database.execute("SELECT name FROM offline_results").fetchall() == [("demo",)]
    made = _made(tmp_path)
    assert made
    # the second run makes nothing anew, and still the answer changes after an event
    assert "answered by the student" in _demo(tmp_path)
    assert _made(tmp_path) == made


def _made(home: Path) -> dict[Path, int]:
    """When each file of each step was written, ns; locks are touched by whoever looks."""
    files = (path for path in (home / ".retort" / "demo" / "steps").glob("*/**/*") if path.is_file())
    return {path: path.stat().st_mtime_ns for path in files}
