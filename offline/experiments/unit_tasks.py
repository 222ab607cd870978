"""Experiment units as Celery tasks on the queue `gpu-train`, under leases in the database.

The record of a finished unit is a file in the experiment's folder, which all workers reach under the same path. The
lease and the error of a failed unit are in the table `experiment_units`. A message only wakes a worker: a task that is
delivered twice finds the record, or the lease of another worker, and looks again later.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from celery import Celery, Task
from sqlalchemy import Engine
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from retort.offline.experiments.run_unit import Experiment, load_experiment
from retort.offline.experiments.scheduler import Record, Submit, run_unit_in_process
from retort.offline.experiments.unit import Unit
from retort.offline.jobs.celery_app import LOOK_AGAIN_S, send_task
from retort.offline.jobs.heartbeat import run_under_lease
from retort.offline.jobs.leases import Lease, LeaseRules, WorkItem, acquire, process_name
from retort.offline.jobs.tasks import ExclusiveGpu
from retort.shared.base.errors import RetortError, StoreError
from retort.shared.base.hashing import hash_json
from retort.shared.db.models import FAILED, PENDING, RUNNING, ExperimentUnit
from retort.shared.db.session import reading, transaction

UNIT_TASK = "offline.experiment_unit"
QUEUE = "gpu-train"
MAX_WAITING = 10_000  # units that may wait in the queue at once
# The first error of a unit is final. Attempts count workers that died.
UNIT_RULES = LeaseRules(lease_s=30.0, beat_s=5.0, max_attempts=5, retry_errors=False)
_LOOK_EVERY_S = 0.5
_logger = logging.getLogger(__name__)
RunUnit = Callable[[str, dict[str, Any]], Record]


class UnitItem(WorkItem):
    """A leased experiment unit."""

    rules = UNIT_RULES


def register_units(
    app: Celery, engine: Engine, exclusive_gpu: ExclusiveGpu = nullcontext, run: RunUnit = run_unit_in_process
) -> None:
    """Let an application execute experiment units. exclusive_gpu: held during a unit."""

    @app.task(name=UNIT_TASK, bind=True, max_retries=None)  # type: ignore[untyped-decorator]
    def unit(self: Task, folder: str, unit: dict[str, Any]) -> None:
        try:
            with exclusive_gpu():
                if run_leased_unit(engine, Path(folder), unit, run):
                    return
        except StoreError as error:
            _logger.warning("%s Trying again in %s s.", error, LOOK_AGAIN_S)
        raise self.retry(countdown=LOOK_AGAIN_S)


def run_leased_unit(engine: Engine, folder: Path, unit: dict[str, Any], run: RunUnit = run_unit_in_process) -> bool:
    """Run a unit that has no record yet. Returns False if another worker holds its lease, True if it needs no worker.

    Raises:
        StoreError: a store is down, or the experiment's folder is not on this machine.
    """
    try:
        experiment, parsed = load_experiment(folder), Unit.from_json(unit)
    except RetortError as error:
        raise StoreError(f"{error} Workers need the experiment's folder under the same path.") from None
    record = experiment.record_of(parsed)
    if record.exists():
        return True
    lease = lease_unit(engine, record)
    if lease is not None:
        run_under_lease(UnitItem(engine, lease), lambda _: run(str(folder), unit))
        return True
    with reading(engine) as session:
        return session.get_one(ExperimentUnit, unit_id(record)).status == FAILED


def lease_unit(engine: Engine, record: Path, owner: str | None = None) -> Lease | None:
    """Acquire a unit by the path of its record. Returns None if another live worker holds it or if it has failed."""
    with transaction(engine) as session:
        _insert_missing(session, record)
        row = session.get_one(ExperimentUnit, unit_id(record), with_for_update=True)
        return acquire(session, row, owner or process_name(), UNIT_RULES, f"experiment unit {record.stem}")


def queue_unit(engine: Engine, record: Path) -> None:
    """Make a unit wait for a worker, with all its attempts. A unit that a worker holds goes on."""
    update = sa.update(ExperimentUnit).filter_by(id=unit_id(record))
    with transaction(engine) as session:
        _insert_missing(session, record)
        session.execute(update.values(attempts=0, error=None, not_before=None))
        session.execute(update.where(ExperimentUnit.status != RUNNING).values(status=PENDING, lease=None))


def unit_id(record: Path) -> str:
    """Return the id of a unit in the database, a hash of the path of its record."""
    return hash_json(str(record.absolute()))


def _insert_missing(session: Session, record: Path) -> None:
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    row = {"id": unit_id(record), "record": str(record.absolute()), "status": PENDING, "attempts": 0}
    session.execute(insert(ExperimentUnit).values(row).on_conflict_do_nothing(index_elements=["id"]))


@contextmanager
def by_workers(app: Celery, engine: Engine, *, again: bool = False) -> Iterator[Submit]:
    """Submit units to the workers of the queue and wait for their records. Submitted units go on if the block ends."""
    waiting: dict[Future[Record], tuple[Experiment, Unit]] = {}
    ended = threading.Event()
    thread = threading.Thread(target=_watch, args=(engine, waiting, ended), name="experiment", daemon=True)

    def submit(experiment: Experiment, unit: Unit) -> "Future[Record]":
        if again:
            experiment.record_of(unit).unlink(missing_ok=True)
        queue_unit(engine, experiment.record_of(unit))
        send_task(app, UNIT_TASK, {"folder": str(experiment.folder.absolute()), "unit": unit.as_json()}, QUEUE)
        future: Future[Record] = Future()
        waiting[future] = (experiment, unit)
        return future

    thread.start()
    try:
        yield submit
    finally:
        ended.set()
        thread.join()


def _watch(engine: Engine, waiting: "dict[Future[Record], tuple[Experiment, Unit]]", ended: threading.Event) -> None:
    """Set the results of finished and failed units until `ended` is set."""
    while not ended.wait(_LOOK_EVERY_S):
        # listed before the errors are read: the error of an earlier attempt is not that of a unit that is queued again
        submitted = list(waiting.items())
        try:
            failed = _failed_units(engine)
        except StoreError as error:
            _logger.warning("failed units are not known now: %s", error)
            failed = {}
        for future, (experiment, unit) in submitted:
            try:
                record = _find_record(experiment, unit, failed)
            except Exception as error:  # noqa: BLE001 - an error that ended this thread would block all other units
                del waiting[future]
                future.set_exception(error)
                continue
            if record is not None:
                del waiting[future]
                future.set_result(record)


def _failed_units(engine: Engine) -> dict[str, str]:
    """Map unit ids to errors."""
    with reading(engine) as session:
        rows = session.execute(sa.select(ExperimentUnit.id, ExperimentUnit.error).filter_by(status=FAILED))
        return {row.id: row.error or "it failed; read the worker's log." for row in rows}


def _find_record(experiment: Experiment, unit: Unit, failed: dict[str, str]) -> Record | None:
    """Return the unit's record, or None if it is not done. Raises RetortError if the unit failed."""
    path = experiment.record_of(unit)
    if record := experiment.records.find(path):
        return record
    if error := failed.get(unit_id(path)):
        raise RetortError(error)
    return None
