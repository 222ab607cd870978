"""SIGKILL in every step; each rerun finds what was finished, and the end is what an undisturbed run makes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from retort.offline.recipes.recipe import load_recipe

_TIMEOUT_S = 240


@pytest.fixture(scope="module")
def attempts(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.interrupted_line", str(tmp_path_factory.mktemp("line"))],
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_step_was_killed_once(attempts: list[dict[str, Any]]) -> None:
    places = [attempt["place"] for attempt in attempts if attempt.get("killed")]
    steps = [
        "data",
        "split",
        "split_refit",
        "profiles",
        "vectors",
        "teacher",
        "train",
        "refit",
        "export",
        "evaluate",
        "seal",
    ]
    assert load_recipe("tests/tiny.toml").protocol == "refit"
    assert [place for place in places if place != "train, second epoch"] == steps
    assert "train, second epoch" in places


def test_the_rerun_continues_and_ends_as_if_nothing_had_happened(attempts: list[dict[str, Any]]) -> None:
    interrupted, whole = (attempt["ran"] for attempt in attempts if "ran" in attempt)
    assert len(interrupted["skipped"]) == len(
        ["data", "split", "split_refit", "profiles", "vectors", "teacher", "train", "refit", "export", "evaluate"]
    )
    assert whole["skipped"] == []
    assert interrupted["graph"] == whole["graph"]
    assert Path(interrupted["bundle"]).is_dir()
    assert [path.name for path in Path(interrupted["bundle"]).parent.iterdir() if path.name.startswith(".")] == []


def test_training_went_on_from_its_checkpoint(attempts: list[dict[str, Any]]) -> None:
    """Killed in the second epoch, after it was saved: what follows starts with the third."""
    diary = next(attempt["ran"]["epochs"] for attempt in attempts if "ran" in attempt)
    assert diary[:3] == ["train, second epoch 1", "train, second epoch 2", "train 3"]
