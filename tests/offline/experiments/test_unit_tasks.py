"""Experiment units on a real Celery worker with a real Redis, and their leases on both databases."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from celery import Celery
from sqlalchemy import Engine

from retort.offline.cli.experiment import run_experiment
from retort.offline.experiments.run_unit import Experiment, save_plan
from retort.offline.experiments.scheduler import Record
from retort.offline.experiments.unit import Selection, Unit
from retort.offline.experiments.unit_tasks import (
    UnitItem,
    by_workers,
    lease_unit,
    queue_unit,
    run_leased_unit,
)
from retort.offline.local.subprocesses import start_child
from retort.shared.base.errors import RetortError, StoreError
from retort.shared.db.models import ExperimentUnit
from retort.shared.db.session import reading, transaction
from tests.offline.experiments.test_plan import plan

FLOOR = Unit("floor", "popularity", "floor")


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    made = Experiment.open(plan(), None, tmp_path)
    made.folder.mkdir(parents=True)
    save_plan(made)
    return made


def test_a_submitted_experiment_reports_what_failed_and_keeps_the_rest(
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


def test_a_unit_that_is_done_or_held_is_left_alone(experiment: Experiment, engine: Engine) -> None:
    done: list[str] = []

    def run(folder: str, unit: dict[str, Any]) -> Record:
        done.append(unit["arm"])
        experiment.records.save(experiment.record_of(FLOOR), {"unit": unit})
        return {}

    held = lease_unit(engine, experiment.record_of(FLOOR), "another:1")
    assert held is not None
    assert not run_leased_unit(engine, experiment.folder, FLOOR.as_json(), run)
    assert done == []
    UnitItem(engine, held).release()
    for _ in range(2):
        assert run_leased_unit(engine, experiment.folder, FLOOR.as_json(), run)
    assert done == ["popularity"]


def test_a_unit_whose_workers_die_is_a_dead_letter_until_it_is_queued_again(
    experiment: Experiment, engine: Engine
) -> None:
    for _ in range(5):
        assert lease_unit(engine, experiment.record_of(FLOOR), "elsewhere:1")
        let_lease_expire(engine)
    ran: list[str] = []
    for _ in range(2):
        run_leased_unit(engine, experiment.folder, FLOOR.as_json(), lambda folder, unit: {"ran": ran.append(folder)})
    assert not ran
    assert run_leased_unit(engine, experiment.folder, FLOOR.as_json())
    assert "its worker died 5 times" in row_of(engine).error  # type: ignore[operator]
    queue_unit(engine, experiment.record_of(FLOOR))
    run_leased_unit(engine, experiment.folder, FLOOR.as_json(), lambda folder, unit: {"ran": ran.append(folder)})
    assert ran == [str(experiment.folder)]


def test_a_unit_that_is_queued_again_while_it_runs_goes_on(experiment: Experiment, engine: Engine) -> None:
    held = lease_unit(engine, experiment.record_of(FLOOR))
    assert held is not None
    queue_unit(engine, experiment.record_of(FLOOR))
    UnitItem(engine, held).finish()
    assert row_of(engine).status == "done"


def test_a_store_that_is_down_and_a_folder_that_is_missing_are_waited_for(
    experiment: Experiment, tmp_path: Path, engine: Engine
) -> None:
    def run(folder: str, unit: dict[str, Any]) -> Record:
        raise StoreError("the database is down.")

    with pytest.raises(StoreError, match="down"):
        run_leased_unit(engine, experiment.folder, FLOOR.as_json(), run)
    row = row_of(engine)
    assert (row.status, row.attempts, row.error) == ("pending", 0, None)
    with pytest.raises(StoreError, match="under the same path"):
        run_leased_unit(engine, tmp_path / "elsewhere", FLOOR.as_json(), run)


def test_a_unit_that_breaks_keeps_its_sentence(experiment: Experiment, engine: Engine) -> None:
    def run(folder: str, unit: dict[str, Any]) -> Record:
        raise ZeroDivisionError("division by zero")

    assert run_leased_unit(engine, experiment.folder, FLOOR.as_json(), run)
    row = row_of(engine)
    assert (row.status, row.error) == ("failed", "ZeroDivisionError: division by zero")


@pytest.mark.parametrize("damage", [b"{cut", b"null", b"{}", None])
def test_a_unit_that_left_nothing_readable_fails_alone(
    experiment: Experiment, engine: Engine, damage: bytes | None
) -> None:
    """None: the unit failed, and its row says why."""
    other = Unit("floor", "item_knn", "floor")
    app = Celery(broker="memory://")
    with by_workers(app, engine) as submit:
        damaged, kept = submit(experiment, FLOOR), submit(experiment, other)
        path = experiment.record_of(FLOOR)
        if damage is None:
            lease = lease_unit(engine, path)
            assert lease is not None
            UnitItem(engine, lease).fail("no luck; read the worker's log")
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(damage)
        with pytest.raises(RetortError, match=r"cannot be read .* delete it|read the worker's log"):
            damaged.result(timeout=30)
        experiment.records.save(experiment.record_of(other), {"unit": other.as_json()})
        assert kept.result(timeout=30) == {"unit": other.as_json()}


def row_of(engine: Engine) -> ExperimentUnit:
    with reading(engine) as session:
        return session.scalars(sa.select(ExperimentUnit)).one()


def let_lease_expire(engine: Engine) -> None:
    with transaction(engine) as session:
        row = session.scalars(sa.select(ExperimentUnit)).one()
        assert row.heartbeat_at is not None
        row.heartbeat_at -= timedelta(hours=1)
