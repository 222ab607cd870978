"""How far the runs are, in the database: written by whoever works, read by `retort status`.

A step's row is also its lease: `heartbeat_at` says that its worker lives, `attempts` how often it was begun.
"""

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from retort.offline.common.progress import Progress
from retort.offline.pipeline.dag import Step as LineStep
from retort.shared.base.errors import RetortError, StoreError
from retort.shared.db.models import DONE, FAILED, PENDING, RUNNING, Run, Step, now
from retort.shared.db.session import reading, transaction
from retort.shared.history.keys import DEFAULT_TENANT

_logger = logging.getLogger(__name__)

HEARTBEAT_S = 5.0
# A worker that said nothing for this long is taken for dead.
LEASE = timedelta(seconds=30)
_WRITE_EVERY_S = 1.0


class RunError(RetortError):
    """A run that does not exist or cannot go on."""


@dataclass(frozen=True)
class StepStatus:
    """One step, as read."""

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
    """One run and its steps in order, as read."""

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
        """One of its steps."""
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
    """Write down a run that is to be done; its id."""
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
        session.add_all(Step(run_id=run_id, name=one.name, position=place, queue=one.queue) for place, one in rows)
    return run_id


def read_run(engine: Engine, run_id: str) -> RunStatus:
    """One run by its id or the start of it."""
    with reading(engine) as session:
        rows = session.scalars(select(Run).where(Run.id.startswith(run_id, autoescape=True))).all()
        if len(rows) != 1:
            raise RunError(f"{len(rows)} runs begin with {run_id!r}; `retort status` lists them all.")
        return _status(session, rows[0])


def read_runs(engine: Engine, *, limit: int = 20) -> list[RunStatus]:
    """The latest runs, newest first."""
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


def lease_step(engine: Engine, run_id: str, name: str) -> bool:
    """Take a step for this process; False while another living process has it."""
    with transaction(engine) as session:
        row = _row(session, run_id, name)
        alive = row.heartbeat_at is not None and now() - row.heartbeat_at < LEASE
        if row.status == RUNNING and alive and row.owner != _owner() and not _surely_dead(row.owner):
            return False
        row.status, row.owner = RUNNING, _owner()
        row.attempts += 1
        row.started_at = row.heartbeat_at = now()
        row.ended_at = row.error = None
        session.execute(update(Run).filter_by(id=run_id).values(status=RUNNING, ended_at=None, error=None))
    return True


def already_followed(engine: Engine, run_id: str, name: str) -> bool:
    """Whether a step is done and the next one is at least begun: a task delivered again has then nothing to do."""
    steps = read_run(engine, run_id).steps
    place = next((place for place, step in enumerate(steps) if step.name == name), None)
    if place is None or steps[place].status != DONE:
        return False
    return place + 1 == len(steps) or steps[place + 1].status != PENDING


def end_step(engine: Engine, run_id: str, name: str, *, error: str | None = None) -> None:
    """Record how a step ended. An error ends its run too."""
    with transaction(engine) as session:
        row = _row(session, run_id, name)
        row.status, row.error, row.ended_at = (FAILED if error else DONE), error, now()
        if row.total is not None and not error:
            row.done = row.total
        if error:
            _end_run(session, run_id, {"status": FAILED, "error": f"{name}: {error}"})


def release_step(engine: Engine, run_id: str, name: str) -> None:
    """Give a step back undone: it was interrupted and will be begun again."""
    with transaction(engine) as session:
        row = _row(session, run_id, name)
        row.status, row.heartbeat_at = PENDING, None
        row.attempts -= 1  # only attempts that died on their own count


def end_run(engine: Engine, run_id: str, bundle: Path | None) -> None:
    """Record that the whole run is done and where its bundle lies."""
    with transaction(engine) as session:
        _end_run(session, run_id, {"status": DONE, "error": None, "bundle": str(bundle) if bundle else None})


def _end_run(session: Session, run_id: str, values: Mapping[str, Any]) -> None:
    session.execute(update(Run).filter_by(id=run_id).values(ended_at=now(), **values))


def _row(session: Session, run_id: str, name: str) -> Step:
    row = session.get(Step, (run_id, name), with_for_update=True)
    if row is None:
        raise RunError(f"run {run_id} has no step {name!r} in the database; submit the recipe again.")
    return row


def _owner() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _surely_dead(owner: str | None) -> bool:
    """Whether a step's worker was on this machine and is no more; no need then to wait for its lease to end."""
    host, _, pid = (owner or "").rpartition(":")
    if host != socket.gethostname() or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


class StepProgress:
    """Writes a step's progress into its row, at most once a second; lines go to the listener behind it."""

    def __init__(self, engine: Engine, run_id: str, name: str, behind: Progress) -> None:
        self._engine, self._run_id, self._name, self._behind = engine, run_id, name, behind
        self._written_at = 0.0

    def update(self, what: str, done: int, total: int | None) -> None:
        self._behind.update(what, done, total)
        finished = total is not None and done >= total
        if finished or time.monotonic() - self._written_at >= _WRITE_EVERY_S:
            self._write(what=what, done=done, total=total)

    def say(self, line: str) -> None:
        self._behind.say(line)

    def _write(self, **values: object) -> None:
        self._written_at = time.monotonic()
        with transaction(self._engine) as session:
            session.execute(
                update(Step).filter_by(run_id=self._run_id, name=self._name).values(heartbeat_at=now(), **values)
            )


@contextmanager
def heartbeat(engine: Engine, run_id: str, name: str) -> Iterator[None]:
    """While the block runs, keep saying that this process lives."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(HEARTBEAT_S):
            try:
                with transaction(engine) as session:
                    session.execute(update(Step).filter_by(run_id=run_id, name=name).values(heartbeat_at=now()))
            except StoreError as error:
                # The work itself goes on; at worst another worker waits at the directory's lock.
                _logger.warning("the heartbeat of %s was not written: %s", name, error)

    thread = threading.Thread(target=beat, name=f"heartbeat {name}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
