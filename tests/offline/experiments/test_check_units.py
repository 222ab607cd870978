"""What the units of an experiment need is looked for before any of them is trained."""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from retort.offline.cli.experiment import run_experiment
from retort.offline.experiments.unit import Selection
from retort.shared.base.errors import RetortError
from tests.offline.experiments.test_plan import plan

FAST = {"encoder.model": "tfidf", "training.epochs": 1, "protocol": "held"}
MISSING = {
    "ready profiles": {"profiles.backend": "imported", "profiles.options": {"path": "none.jsonl"}},
    "a teacher's folder": {"teacher.lists": "file", "teacher.lists_path": "none"},
    "item knowledge": {"knowledge.backend": "file", "knowledge.path": "none.jsonl"},
}
OBJECTIVES = {"ready profiles": "profile", "a teacher's folder": "mutual", "item knowledge": "text_start"}


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RETORT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DATABASE_URL", "")
    return tmp_path / "runs"


def arms(what: str) -> list[dict[str, Any]]:
    broken = {"name": "broken", "objectives": [{"name": OBJECTIVES[what]}], "set": MISSING[what]}
    return [{"name": "plain", "objectives": []}, broken]


@pytest.mark.parametrize("what", sorted(MISSING))
def test_a_missing_file_of_a_later_arm_is_found_before_the_first_is_trained(what: str, runs: Path) -> None:
    with pytest.raises(RetortError, match="none"):
        run_experiment(plan(arms=arms(what), seeds=[1], set=FAST), None, runs, 1, Selection(), again=False)
    assert not list(runs.glob("steps/train-*")), "nothing was trained"


def test_arms_that_are_not_selected_are_not_looked_at(runs: Path) -> None:
    made = plan(arms=arms("ready profiles"), seeds=[1], set=FAST)
    folder = run_experiment(made, None, runs, 1, Selection(["plain"]), again=False)
    assert list(folder.glob("records/plain-sasrec-seed-1-*.json"))


def test_a_disk_that_is_nearly_full_is_found_first(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 40, 1 << 40, 1 << 20))
    with pytest.raises(RetortError, match="only 1 MiB are free"):
        run_experiment(plan(seeds=[1], set=FAST), None, runs, 1, Selection(), again=False)
    assert not list(runs.glob("steps/*"))
