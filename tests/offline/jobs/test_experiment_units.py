"""Units by a real Celery worker over a real Redis; and who does one when several could."""

import fcntl
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from celery import Celery

from retort.offline.cli.experiment import run_experiment
from retort.offline.experiments.run_unit import Experiment
from retort.offline.experiments.scheduler import Record, save_plan
from retort.offline.experiments.selection import Selection
from retort.offline.experiments.unit import Unit
from retort.offline.jobs.experiment_units import by_workers, do_alone
from retort.offline.local.subprocesses import start_child
from retort.shared.base.errors import RetortError, StoreError
from tests.offline.experiments.test_plan import plan

FLOOR = Unit("floor", "popularity", "floor")


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    made = Experiment.open(plan(), None, tmp_path)
    made.folder.mkdir(parents=True)
    save_plan(made)
    return made


def test_a_submitted_experiment_tells_what_failed_and_keeps_the_rest(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"REDIS_URL": redis_url, "RETORT_HOME": str(tmp_path / "home"), "DATABASE_URL": ""}.items():
        monkeypatch.setenv(name, value)
    broken = {"name": "broken", "set": {"profiles.backend": "imported", "profiles.options": {"path": "none.jsonl"}}}
    asked = plan(
        arms=[{"name": "plain", "objectives": []}, broken],
        seeds=[1],
        set={"encoder.model": "tfidf", "training.epochs": 1, "protocol": "held"},
    )
    args = [sys.executable, "-m", "retort.offline.cli", "worker", "--queues", "gpu-train"]
    with start_child(args, "worker", log=tmp_path / "worker.log"), pytest.raises(RetortError) as told:
        run_experiment(asked, None, tmp_path / "runs", None, Selection(), again=False)
    assert "1 unit(s) failed, the others are kept. broken-sasrec-trial-0" in str(told.value)
    assert "none.jsonl" in str(told.value)
    records = [orjson.loads(path.read_bytes()) for path in (tmp_path / "runs").glob("experiments/tiny/records/*")]
    assert {(one["unit"]["kind"], one["unit"]["arm"]) for one in records} == {
        ("floor", "popularity"),
        ("trial", "plain"),
        ("run", "plain"),
    }


def test_a_unit_that_is_done_or_being_done_is_left_alone(experiment: Experiment) -> None:
    done: list[str] = []

    def do(folder: str, unit: dict[str, Any]) -> Record:
        done.append(unit["arm"])
        experiment.records.keep(experiment.record_of(FLOOR), {"unit": unit})
        return {}

    lock = experiment.folder / "locks" / f"{experiment.record_of(FLOOR).stem}.lock"
    lock.parent.mkdir()
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert not do_alone(experiment.folder, FLOOR.as_json(), do)
    assert done == []
    for _ in range(2):
        assert do_alone(experiment.folder, FLOOR.as_json(), do)
    assert done == ["popularity"]


def test_a_unit_that_kills_its_workers_is_given_up(experiment: Experiment) -> None:
    lock = experiment.folder / "locks" / f"{experiment.record_of(FLOOR).stem}.lock"
    lock.parent.mkdir()
    lock.write_bytes(b"." * 5)
    assert do_alone(experiment.folder, FLOOR.as_json(), lambda folder, unit: pytest.fail("it must not be tried again"))
    (failure,) = (experiment.folder / "failed").iterdir()
    assert "begun 5 times" in orjson.loads(failure.read_bytes())["why"]


def test_a_store_that_is_away_and_a_folder_that_is_not_there_are_waited_for(
    experiment: Experiment, tmp_path: Path
) -> None:
    def do(folder: str, unit: dict[str, Any]) -> Record:
        raise StoreError("the database is away.")

    with pytest.raises(StoreError, match="away"):
        do_alone(experiment.folder, FLOOR.as_json(), do)
    assert not (experiment.folder / "failed").exists()
    with pytest.raises(StoreError, match="under the same path"):
        do_alone(tmp_path / "elsewhere", FLOOR.as_json(), do)


@pytest.mark.parametrize("damage", [b"{cut", b"null", b"{}"])
@pytest.mark.parametrize("where", ["records", "failed"])
def test_a_unit_that_left_nothing_readable_fails_alone(experiment: Experiment, where: str, damage: bytes) -> None:
    other = Unit("floor", "item_knn", "floor")
    app = Celery(broker="memory://")
    with by_workers(app) as submit:
        damaged, kept = submit(experiment, FLOOR), submit(experiment, other)
        path = experiment.folder / where / experiment.record_of(FLOOR).name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(damage)
        with pytest.raises(RetortError, match=r"cannot be read .* delete it|read the worker's log"):
            damaged.result(timeout=30)
        experiment.records.keep(experiment.record_of(other), {"unit": other.as_json()})
        assert kept.result(timeout=30) == {"unit": other.as_json()}
