"""Runs and their steps in the database: written by workers, read by `retort status`.

The row of a step is also its lease (`offline/jobs/leases.py`).
"""

import logging
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from retort.offline.common.progress import Progress
from retort.offline.jobs.leases import (
    Lease,
    LeaseLostError,
    LeaseRules,
    WorkItem,
    acquire,
    process_name,
)
from retort.offline.pipeline.dag import Step as LineStep
from retort.shared.base.errors import RetortError, StoreError
from retort.shared.db.models import DONE, FAILED, PENDING, RUNNING, Run, Step
from retort.shared.db.session import database_time, reading, transaction
from retort.shared.history.keys import DEFAULT_TENANT

_logger = logging.getLogger(__name__)

# The first error of a step ends its run. Attempts count workers that died.
STEP_RULES = LeaseRules(lease_s=30.0, beat_s=5.0, max_attempts=5, retry_errors=False)
_WRITE_EVERY_S = 1.0


class RunError(RetortError):
    """A run that does not exist or cannot continue."""


@dataclass(frozen=True)
class StepStatus:
    """State of one step, as read from the database."""

    name: str
    status: str
    what: str | None
    done: int
    total: int | None
    attempts: int
    started_at: datetime | None
    ended_at: datetime | None
    error: str | None


@dataclass(frozen=True)
class RunStatus:
    """State of one run and of its steps in order, as read from the database."""

    id: str
    recipe_name: str
    recipe: dict[str, Any]
    data_dir: Path
    out_dir: Path
    status: str
    created_at: datetime
    ended_at: datetime | None
    bundle: str | None
    error: str | None
    steps: tuple[StepStatus, ...]

    def step(self, name: str) -> StepStatus:
        """Return the step of this name."""
        return next(step for step in self.steps if step.name == name)


def create_run(
    engine: Engine,
    recipe_name: str,
    recipe: dict[str, Any],
    data_dir: Path,
    out_dir: Path,
    steps: Sequence[LineStep[Any]],
    *,
    tenant: str = DEFAULT_TENANT,
) -> str:
    """Create a pending run with its steps. Returns its id."""
    run_id = uuid.uuid4().hex
    with transaction(engine) as session:
        session.add(
            Run(
                id=run_id,
                tenant=tenant,
                recipe_name=recipe_name,
                recipe=recipe,
                data_dir=str(data_dir.absolute()),
                out_dir=str(out_dir.absolute()),
            )
        )
        session.flush()
        rows = enumerate(steps)
        session.add_all(Step(run_id=run_id, name=step.name, position=place, queue=step.queue) for place, step in rows)
    return run_id


def read_run(engine: Engine, run_id: str) -> RunStatus:
    """Read one run by its id or a unique prefix of it. Raises RunError otherwise."""
    with reading(engine) as session:
        rows = session.scalars(select(Run).where(Run.id.startswith(run_id, autoescape=True))).all()
        if len(rows) != 1:
            raise RunError(
                f"{len(rows)} runs have an id that starts with {run_id!r}; choose one that `retort status` lists."
            )
        return _status(session, rows[0])


def read_runs(engine: Engine, *, limit: int = 20) -> list[RunStatus]:
    """Read the latest runs, newest first."""
    with reading(engine) as session:
        rows = session.scalars(select(Run).order_by(Run.created_at.desc(), Run.id).limit(limit)).all()
        return [_status(session, row) for row in rows]


def _status(session: Session, run: Run) -> RunStatus:
    steps = session.scalars(select(Step).filter_by(run_id=run.id).order_by(Step.position)).all()
    return RunStatus(
        id=run.id,
        recipe_name=run.recipe_name,
        recipe=run.recipe,
        data_dir=Path(run.data_dir),
        out_dir=Path(run.out_dir),
        status=run.status,
        created_at=run.created_at,
        ended_at=run.ended_at,
        bundle=run.bundle,
        error=run.error,
        steps=tuple(
            StepStatus(s.name, s.status, s.what, s.done, s.total, s.attempts, s.started_at, s.ended_at, s.error)
            for s in steps
        ),
    )


def lease_step(engine: Engine, run_id: str, name: str, owner: str | None = None) -> Lease | None:
    """Acquire a step. Returns None while another live worker holds it, or if all its attempts are used up.

    owner: the worker; this process by default.
    """
    with transaction(engine) as session:
        row = session.get(Step, (run_id, name), with_for_update=True)
        if row is None:
            raise RunError(f"run {run_id} has no step {name!r} in the database; submit the recipe again.")
        lease = acquire(session, row, owner or process_name(), STEP_RULES, f"step {name} of run {run_id[:8]}")
        if lease is not None:
            session.execute(update(Run).filter_by(id=run_id).values(status=RUNNING, ended_at=None, error=None))
        elif row.status == FAILED:
            _fail_run(session, run_id, f"{name}: {row.error}")
        return lease


def is_settled(engine: Engine, run_id: str, name: str) -> bool:
    """Whether a step needs no worker: it failed, or it is done and the next step has been started."""
    steps = read_run(engine, run_id).steps
    place = next((place for place, step in enumerate(steps) if step.name == name), None)
    if place is None:
        return False
    if steps[place].status != DONE:
        return steps[place].status == FAILED
    return place + 1 == len(steps) or steps[place + 1].status != PENDING


def end_run(engine: Engine, run_id: str, bundle: Path | None) -> None:
    """Record that the whole run is done and where its bundle is."""
    with transaction(engine) as session:
        values = {"status": DONE, "error": None, "bundle": str(bundle) if bundle else None}
        session.execute(update(Run).filter_by(id=run_id).values(ended_at=database_time(session), **values))


def _fail_run(session: Session, run_id: str, error: str) -> None:
    ended_at = database_time(session)
    session.execute(update(Run).filter_by(id=run_id).values(status=FAILED, error=error, ended_at=ended_at))


class StepItem(WorkItem):
    """A leased step. As a progress reporter, it writes the step's progress to its row at most once a second.

    A step whose lease is lost or whose database is down goes on: the lock of its directory keeps other workers out,
    and a worker that takes over uses what it leaves.
    """

    rules = STEP_RULES

    def __init__(self, engine: Engine, lease: Lease, progress: Progress) -> None:
        super().__init__(engine, lease)
        self._progress = progress
        self._columns: dict[str, Any] = {}
        self._written_at = 0.0

    def update(self, what: str, done: int, total: int | None) -> None:
        """Report progress and write it to the database."""
        self._progress.update(what, done, total)
        self._columns = {"what": what, "done": done, "total": total}
        finished = total is not None and done >= total
        if finished or time.monotonic() - self._written_at >= _WRITE_EVERY_S:
            self._written_at = time.monotonic()
            try:
                self.renew()
            except (StoreError, DBAPIError, LeaseLostError) as error:
                _logger.warning("the progress of %s was not written: %s", self.lease.label, error)

    def say(self, line: str) -> None:
        """Report a line."""
        self._progress.say(line)

    def columns(self) -> dict[str, Any]:
        return dict(self._columns)

    def final_columns(self) -> dict[str, Any]:
        total = self._columns.get("total")
        return {} if total is None else {"done": total}

    def ended(self, session: Session, error: str | None) -> None:
        if error is not None:
            _fail_run(session, self.lease.key["run_id"], f"{self.lease.key['name']}: {error}")
