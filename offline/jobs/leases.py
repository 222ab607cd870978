"""Leases on rows: one worker at a time holds a row, renews its lease by a heartbeat and proves it by a fencing token.

Run steps, refresh chunks and experiment units share this code. Every write under a lease names its fencing token, so a
worker that lost its lease changes nothing. All times are the database's, so workers whose clocks differ agree on which
lease has expired.
"""

import os
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from retort.shared.base.errors import RetortError
from retort.shared.db.models import DONE, FAILED, PENDING, RUNNING, LeasedRow
from retort.shared.db.session import database_time, transaction


class LeaseLostError(RetortError):
    """Another worker has taken the row over, or the row is gone."""


class HaltedError(RetortError):
    """The work must end before it is done: it was cancelled, its budget is spent, or its worker stops."""


@dataclass(frozen=True)
class LeaseRules:
    """When a lease expires and how often its work is tried.

    lease_s: a row whose heartbeat is older than this is free. beat_s: interval of heartbeats. max_attempts: the row
    becomes a dead letter after so many. backoff_s: pause after the first failed attempt; it doubles with each further
    one. retry_errors: False makes the first error final, so that only attempts whose worker died are repeated.
    """

    lease_s: float = 60.0
    beat_s: float = 5.0
    max_attempts: int = 3
    backoff_s: float = 10.0
    retry_errors: bool = True


@dataclass(frozen=True)
class Lease:
    """One acquisition of one row. key: its primary key; token: the fencing token; label: its name in messages."""

    table: type[LeasedRow]
    key: Mapping[str, Any]
    token: str
    attempt: int
    label: str


def process_name() -> str:
    """Return `host:pid` of this process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def worker_name() -> str:
    """Return `host:pid:random`, unique among the workers of one process too."""
    return f"{process_name()}:{uuid.uuid4().hex[:6]}"


def due(table: type[LeasedRow], rules: LeaseRules, at: datetime) -> sa.ColumnElement[bool]:
    """Build the SQL condition of rows that a worker may acquire: waiting and due, or with an expired lease."""
    waiting = sa.and_(table.status == PENDING, sa.or_(table.not_before.is_(None), table.not_before <= at))
    expired = sa.and_(table.status == RUNNING, table.heartbeat_at < at - timedelta(seconds=rules.lease_s))
    return sa.or_(waiting, expired)


def acquire(session: Session, row: LeasedRow, owner: str, rules: LeaseRules, label: str) -> Lease | None:
    """Give a locked row to `owner` under a new fencing token.

    Returns:
        None if another live worker holds the row, or if it failed. Without attempts left, it becomes a dead letter.
    """
    at = database_time(session)
    if row.status == FAILED or _is_held(row, owner, rules, at):
        return None
    if row.status == DONE:
        row.attempts = 0
    if row.attempts >= rules.max_attempts:
        row.error = f"its worker died {row.attempts} times (last: {row.owner}); read the log of that worker"
        row.status, row.ended_at, row.lease = FAILED, at, None
        return None
    row.status, row.owner, row.lease = RUNNING, owner, uuid.uuid4().hex
    row.attempts += 1
    row.heartbeat_at = row.started_at = at
    row.ended_at = row.not_before = row.error = None
    key = {str(column.key): getattr(row, str(column.key)) for column in sa.inspect(type(row)).primary_key}
    return Lease(type(row), key, row.lease, row.attempts, label)


def _is_held(row: LeasedRow, owner: str, rules: LeaseRules, at: datetime) -> bool:
    """Whether a live worker other than `owner` holds the row."""
    if row.status != RUNNING or row.heartbeat_at is None or row.owner == owner:
        return False
    return at - row.heartbeat_at <= timedelta(seconds=rules.lease_s) and not _is_dead_process(row.owner)


def _is_dead_process(owner: str | None) -> bool:
    """Whether the owner was a process of this machine that has ended; its lease need not expire then."""
    host, _, rest = (owner or "").partition(":")
    pid = rest.partition(":")[0]
    if host != socket.gethostname() or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


class WorkItem:
    """A row under a lease as its worker uses it: renewed while the work runs, then finished, failed or released.

    Every change raises LeaseLostError if the lease no longer holds. Subclasses add the columns of their progress and
    what the end of a row means for the run or refresh that it belongs to.
    """

    rules = LeaseRules()

    def __init__(self, engine: Engine, lease: Lease) -> None:
        self.engine, self.lease = engine, lease

    def columns(self) -> dict[str, Any]:
        """Progress columns, written with every change."""
        return {}

    def final_columns(self) -> dict[str, Any]:
        """Columns that only a finished row has."""
        return {}

    def lock_parent(self, session: Session) -> None:
        """Lock the row of the run or refresh before its last items end at the same time."""

    def ended(self, session: Session, error: str | None) -> None:
        """Update the run or refresh after this item has ended. error: None if it is done."""

    def reason_to_halt(self, session: Session) -> str | None:
        """Say why the work must end before it is done; None if it goes on."""
        return None

    def renew(self) -> None:
        """Write a heartbeat and the progress. Raises HaltedError if the work must end."""
        with transaction(self.engine) as session:
            self.change(session, heartbeat_at=database_time(session))
            reason = self.reason_to_halt(session)
        if reason is not None:
            raise HaltedError(reason)

    def finish(self) -> None:
        """Record that the work is done."""
        with transaction(self.engine) as session:
            self.lock_parent(session)
            end = {"status": DONE, "ended_at": database_time(session), "lease": None, **self.final_columns()}
            self.change(session, **end)
            self.ended(session, None)

    def fail(self, error: str) -> bool:
        """Record a failed attempt: it waits for the next one, or becomes a dead letter. Returns True for the latter."""
        dead = not self.rules.retry_errors or self.lease.attempt >= self.rules.max_attempts
        with transaction(self.engine) as session:
            at = database_time(session)
            pause = timedelta(seconds=self.rules.backoff_s * 2.0 ** (self.lease.attempt - 1))
            state = {"status": FAILED} if dead else {"status": PENDING, "not_before": at + pause}
            self.lock_parent(session)
            self.change(session, **state, error=error, ended_at=at, lease=None)
            if dead:
                self.ended(session, error)
        return dead

    def release(self) -> None:
        """Return the row unfinished. This does not count as an attempt."""
        with transaction(self.engine) as session:
            self.change(session, status=PENDING, lease=None, attempts=self.lease.table.attempts - 1)

    def change(self, session: Session, **values: Any) -> None:
        """Write to the row if the lease still holds. Raises LeaseLostError otherwise."""
        lease = self.lease
        statement = sa.update(lease.table).filter_by(**lease.key, lease=lease.token, status=RUNNING)
        options = {"synchronize_session": False}
        changed = session.execute(statement.values({**self.columns(), **values}), execution_options=options)
        if not changed.rowcount:  # type: ignore[attr-defined]
            raise LeaseLostError(f"another worker has taken over {lease.label}")
