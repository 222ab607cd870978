"""Who works on which chunk. A row is leased for as long as its heartbeat is fresh; every taking has a token of its own.

All writes of a worker name its token: one that slept through the end of its lease changes nothing when it wakes up.
Time is the database's, so that workers whose clocks differ agree on who is late.
"""

import os
import socket
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from retort.offline.profiles.report import ProfilesReport
from retort.shared.base.errors import RetortError
from retort.shared.db.models import DONE, FAILED, PENDING, RUNNING, STOPPED, RefreshChunk, RefreshJob, now
from retort.shared.db.session import transaction
from retort.shared.profiles.refreshes import ALIVE, moment

# So many dead chunks and not one done: the job is at fault, not the chunks.
_HOPELESS_DEAD = 5


class LeaseLostError(RetortError):
    """Another worker has taken the chunk over, or the job is gone."""


class HaltedError(RetortError):
    """The job was cancelled, or has spent its budget."""


@dataclass(frozen=True)
class LeaseRules:
    """lease_s: silence after which a worker is taken for dead. A chunk dies after max_attempts; backoff_s doubles."""

    lease_s: float = 60.0
    beat_s: float = 5.0
    max_attempts: int = 3
    backoff_s: float = 10.0


@dataclass(frozen=True)
class Lease:
    """One taking of one chunk. prompt_tokens, completion_tokens and cost_usd: of the attempts before."""

    job_id: str
    position: int
    token: str
    attempt: int
    n_users: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float


def worker_name() -> str:
    """host:pid and something that no other worker has."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:6]}"


def lease_chunk(engine: Engine, owner: str, rules: LeaseRules, job_id: str | None = None) -> Lease | None:
    """Take the next chunk of the oldest job alive; None where nothing can be taken now."""
    while True:
        with transaction(engine) as session:
            at = moment(session)
            row = session.scalars(_takeable(at, rules, job_id)).first()
            if row is None:
                return None
            if row.attempts >= rules.max_attempts:
                _bury(session, row, f"its worker died {row.attempts} times (last: {row.owner}); see that worker's log")
                continue
            lease = _take(session, row, owner, at)
            if lease is not None:
                return lease


def next_try_s(engine: Engine) -> float | None:
    """Seconds until a chunk that waits after a failed attempt may be taken again; None where none waits."""
    with transaction(engine) as session:
        query = (
            sa.select(RefreshChunk.not_before)
            .join(RefreshJob, RefreshJob.id == RefreshChunk.job_id)
            .where(RefreshJob.status.in_(ALIVE), RefreshChunk.status == PENDING, RefreshChunk.not_before.is_not(None))
            .order_by(RefreshChunk.not_before)
            .limit(1)
        )
        due = session.scalars(query).first()
        return None if due is None else max(0.0, (due - moment(session)).total_seconds())


def _takeable(at: datetime, rules: LeaseRules, job_id: str | None) -> sa.Select[RefreshChunk]:
    waiting = sa.and_(
        RefreshChunk.status == PENDING, sa.or_(RefreshChunk.not_before.is_(None), RefreshChunk.not_before <= at)
    )
    silent = sa.and_(RefreshChunk.status == RUNNING, RefreshChunk.heartbeat_at < at - timedelta(seconds=rules.lease_s))
    query = (
        sa.select(RefreshChunk)
        .join(RefreshJob, RefreshJob.id == RefreshChunk.job_id)
        .where(RefreshJob.status.in_(ALIVE), sa.or_(waiting, silent))
        .order_by(RefreshJob.created_at, RefreshChunk.job_id, RefreshChunk.position)
        .limit(1)
        # workers do not wait for each other: each takes the next row that nobody holds
        .with_for_update(skip_locked=True, of=RefreshChunk)
    )
    return query if job_id is None else query.where(RefreshChunk.job_id == job_id)


def _take(session: Session, row: RefreshChunk, owner: str, at: datetime) -> Lease | None:
    """None: the job was called off meanwhile; nothing is changed then."""
    started = sa.func.coalesce(RefreshJob.started_at, at)
    alive = sa.update(RefreshJob).where(RefreshJob.id == row.job_id, RefreshJob.status.in_(ALIVE))
    running = session.execute(alive.values(status=RUNNING, started_at=started))
    if not running.rowcount:  # type: ignore[attr-defined]
        return None
    row.status, row.owner, row.lease = RUNNING, owner, uuid.uuid4().hex
    row.attempts += 1
    row.heartbeat_at = row.started_at = at
    row.ended_at = row.not_before = row.error = None
    row.done = row.written = row.reused = row.failed = 0
    spent = (row.prompt_tokens, row.completion_tokens, row.cost_usd)
    return Lease(row.job_id, row.position, row.lease, row.attempts, row.n_users, *spent)


def beat(engine: Engine, lease: Lease, report: ProfilesReport, cost_usd: float) -> None:
    """Say that the worker lives and how far it is. Raises LeaseLostError or HaltedError where it must stop."""
    with transaction(engine) as session:
        values = {"heartbeat_at": moment(session), **_counts(lease, report, cost_usd)}
        _change(session, lease, values)
        job = session.get_one(RefreshJob, lease.job_id)
        if job.status not in ALIVE:
            raise_after = f"the refresh {job.id[:8]} is {job.status}"
        elif (spent := _over_budget(session, job)) is not None:
            raise_after = f"the refresh {job.id[:8]} has spent its budget ({spent})"
            job.status, job.ended_at, job.error = STOPPED, now(), f"the budget is spent: {spent}"
        else:
            return
    raise HaltedError(raise_after)


def end_chunk(engine: Engine, lease: Lease, report: ProfilesReport, cost_usd: float) -> None:
    """The chunk is done; with the last one, the job."""
    with transaction(engine) as session:
        values = {"status": DONE, "ended_at": moment(session), "problems": dict(report.problems)}
        _lock_job(session, lease.job_id)
        _change(
            session,
            lease,
            {**_counts(lease, report, cost_usd), **values, "done": lease.n_users - len(report.failed_users)},
        )
        close_if_done(session, lease.job_id)


def fail_chunk(
    engine: Engine, lease: Lease, report: ProfilesReport, cost_usd: float, error: str, rules: LeaseRules
) -> bool:
    """The attempt failed: again later, or, after the last, a dead letter with its reason. True: it is dead."""
    dead = lease.attempt >= rules.max_attempts
    with transaction(engine) as session:
        at = moment(session)
        wait = timedelta(seconds=rules.backoff_s * 2.0 ** (lease.attempt - 1))
        values = {"error": error, "ended_at": at, "problems": dict(report.problems), "lease": None}
        values |= {"status": FAILED} if dead else {"status": PENDING, "not_before": at + wait}
        _lock_job(session, lease.job_id)
        _change(session, lease, {**_counts(lease, report, cost_usd), **values})
        if dead:
            close_if_done(session, lease.job_id)
    return dead


def release_chunk(engine: Engine, lease: Lease, report: ProfilesReport, cost_usd: float) -> None:
    """Give a chunk back undone: its worker was told to stop. That is no attempt."""
    with transaction(engine) as session:
        values = {"status": PENDING, "lease": None, "attempts": RefreshChunk.attempts - 1}
        _change(session, lease, {**_counts(lease, report, cost_usd), **values})


def close_if_done(session: Session, job_id: str) -> None:
    """End a job that has no chunk left to do. The caller holds the job's row."""
    job = session.get_one(RefreshJob, job_id)
    by_status = sa.select(RefreshChunk.status, sa.func.count()).filter_by(job_id=job_id).group_by(RefreshChunk.status)
    counts = dict(session.execute(by_status).all())
    dead = counts.get(FAILED, 0)
    left = counts.get(PENDING, 0) + counts.get(RUNNING, 0)
    if job.status not in ALIVE or (left and (dead < _HOPELESS_DEAD or counts.get(DONE))):
        return
    job.status, job.ended_at = (FAILED if dead else DONE), now()
    if dead:
        first = sa.select(RefreshChunk.error).filter_by(job_id=job_id, status=FAILED).order_by(RefreshChunk.position)
        job.error = (
            f"{dead} of {job.n_chunks} chunks are dead letters (`retort refresh dead {job_id[:8]}` shows them, "
            f"`retort refresh retry {job_id[:8]}` tries them again); the first: {session.scalar(first.limit(1))}"
        )


def _counts(lease: Lease, report: ProfilesReport, cost_usd: float) -> dict[str, object]:
    return {
        "done": min(lease.n_users - len(report.failed_users), report.written + report.reused),
        "written": report.written,
        "reused": report.reused,
        "failed": report.failed,
        "prompt_tokens": lease.prompt_tokens + report.prompt_tokens,
        "completion_tokens": lease.completion_tokens + report.completion_tokens,
        "cost_usd": lease.cost_usd + cost_usd,
    }


def _change(session: Session, lease: Lease, values: dict[str, object]) -> None:
    """Write to the chunk if this lease still holds."""
    statement = sa.update(RefreshChunk).filter_by(
        job_id=lease.job_id, position=lease.position, lease=lease.token, status=RUNNING
    )
    changed = session.execute(statement.values(values), execution_options={"synchronize_session": False})
    if not changed.rowcount:  # type: ignore[attr-defined]
        raise LeaseLostError(f"chunk {lease.position} of {lease.job_id[:8]} is another worker's now")


def _over_budget(session: Session, job: RefreshJob) -> str | None:
    if job.budget_tokens is None and job.budget_usd is None:
        return None
    tokens, usd = spent(session, job.id)
    if job.budget_tokens is not None and tokens >= job.budget_tokens:
        return f"{tokens:,} of {job.budget_tokens:,} tokens"
    if job.budget_usd is not None and usd >= job.budget_usd:
        return f"${usd:.2f} of ${job.budget_usd:.2f}"
    return None


def spent(session: Session, job_id: str) -> tuple[int, float]:
    """Tokens and money of all chunks and attempts."""
    tokens = sa.func.sum(RefreshChunk.prompt_tokens + RefreshChunk.completion_tokens)
    row = session.execute(sa.select(tokens, sa.func.sum(RefreshChunk.cost_usd)).filter_by(job_id=job_id)).one()
    return int(row[0] or 0), float(row[1] or 0.0)


def _bury(session: Session, row: RefreshChunk, error: str) -> None:
    _lock_job(session, row.job_id)
    row.status, row.error, row.ended_at, row.lease = FAILED, error, moment(session), None
    session.flush()
    close_if_done(session, row.job_id)


def _lock_job(session: Session, job_id: str) -> None:
    # two workers that end the last two chunks at once would each see the other's as running
    session.get_one(RefreshJob, job_id, with_for_update=True)
