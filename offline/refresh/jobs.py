"""Refreshes as people see them: made, watched, called off, taken up again, and what could not be done.

Longer than most files: everything here reads or writes the same two tables, and nothing of it is understood alone.
"""

import uuid
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from offline.profiles.config import ProfilesConfig
from offline.refresh.leases import ALIVE, close_if_done, moment
from offline.refresh.snapshot import Snapshot, open_snapshot
from shared.db.models import CANCELLED, DONE, FAILED, PENDING, RUNNING, RefreshChunk, RefreshJob, now
from shared.db.session import reading, transaction
from shared.errors import RetortError
from shared.keys import DEFAULT_TENANT

_RATE_OVER = timedelta(minutes=10)
_ROWS_AT_ONCE = 1000


class RefreshError(RetortError):
    """A refresh that does not exist or cannot do what was asked."""


@dataclass(frozen=True)
class JobStatus:
    """One refresh, as read. Users: of finished chunks and of those in work; texts: written, reused, failed."""

    id: str
    name: str
    status: str
    n_users: int
    n_chunks: int
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    error: str | None
    budget_tokens: int | None
    budget_usd: float | None
    chunks: dict[str, int]
    users_done: int
    written: int
    reused: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    users_per_s: float
    owners: tuple[str, ...]

    @property
    def seconds_left(self) -> float | None:
        """At the latest rate; None where nothing can be said."""
        if self.status not in ALIVE or not self.users_per_s:
            return None
        return (self.n_users - self.users_done) / self.users_per_s


@dataclass(frozen=True)
class DeadChunk:
    """A dead letter: whom it was about, how often it was tried, and why it failed."""

    position: int
    attempts: int
    error: str
    user_ids: tuple[str, ...]


@dataclass(frozen=True)
class JobSpec:
    """How a job's texts are written, and where its histories lie."""

    tenant: str
    profiles: ProfilesConfig
    snapshot: Path


def create_job(
    engine: Engine,
    name: str,
    profiles: ProfilesConfig,
    snapshot: Snapshot,
    *,
    budget_tokens: int | None = None,
    budget_usd: float | None = None,
    tenant: str = DEFAULT_TENANT,
) -> str:
    """Write down that a snapshot's users are to be profiled; the job's id. Workers find it by themselves."""
    _check_budget(profiles, budget_usd)
    job_id = uuid.uuid4().hex
    spec = {"profiles": profiles.model_dump(mode="json"), "snapshot": str(snapshot.root.absolute())}
    sizes = _sizes(snapshot, profiles.chunk_users)
    with transaction(engine) as session:
        session.add(
            RefreshJob(
                id=job_id,
                tenant=tenant,
                name=name,
                spec=spec,
                n_users=snapshot.n_users,
                n_chunks=snapshot.n_chunks,
                budget_tokens=budget_tokens if budget_tokens is not None else profiles.spending.max_tokens,
                budget_usd=budget_usd if budget_usd is not None else profiles.spending.max_usd,
            )
        )
        session.flush()
        for start in range(0, len(sizes), _ROWS_AT_ONCE):
            rows = enumerate(sizes[start : start + _ROWS_AT_ONCE], start=start)
            session.add_all(RefreshChunk(job_id=job_id, position=place, n_users=n) for place, n in rows)
            session.flush()
            session.expunge_all()
    return job_id


def _check_budget(profiles: ProfilesConfig, budget_usd: float | None) -> None:
    if budget_usd is not None and profiles.spending.cost_usd(0, 0) is None:
        raise RefreshError(
            "a budget in money wants prices: set [profiles.spending] usd_per_million_input and usd_per_million_output."
        )


def _sizes(snapshot: Snapshot, chunk_users: int) -> list[int]:
    last = snapshot.n_users - chunk_users * (snapshot.n_chunks - 1)
    return [chunk_users] * (snapshot.n_chunks - 1) + [last]


def read_spec(engine: Engine, job_id: str) -> JobSpec:
    """What a worker needs to know of a job."""
    with reading(engine) as session:
        job = session.get_one(RefreshJob, job_id)
    return JobSpec(job.tenant, ProfilesConfig.model_validate(job.spec["profiles"]), Path(job.spec["snapshot"]))


def read_job(engine: Engine, reference: str) -> JobStatus:
    """One refresh by its id or the start of it."""
    with reading(engine) as session:
        return _status(session, _find(session, reference))


def read_jobs(engine: Engine, *, limit: int = 20, tenant: str = DEFAULT_TENANT) -> list[JobStatus]:
    """The latest refreshes, newest first."""
    query = sa.select(RefreshJob).filter_by(tenant=tenant).order_by(RefreshJob.created_at.desc(), RefreshJob.id)
    with reading(engine) as session:
        return [_status(session, job) for job in session.scalars(query.limit(limit))]


def cancel_job(engine: Engine, reference: str) -> str:
    """Call a refresh off: workers stop at their next heartbeat and keep what they wrote. Its id."""
    with transaction(engine) as session:
        job = _find(session, reference)
        if job.status not in ALIVE:
            raise RefreshError(f"refresh {job.id[:8]} is {job.status}; only one that waits or runs can be cancelled.")
        job.status, job.ended_at = CANCELLED, now()
        return job.id


def resume_job(
    engine: Engine, reference: str, *, budget_tokens: int | None = None, budget_usd: float | None = None
) -> str:
    """Take up a refresh that was cancelled or stopped by its budget, with a new budget if one is given. Its id."""
    with transaction(engine) as session:
        job = _find(session, reference)
        if job.status in (DONE, *ALIVE):
            raise RefreshError(f"refresh {job.id[:8]} is {job.status}; there is nothing to resume.")
        job.budget_tokens = budget_tokens or job.budget_tokens
        job.budget_usd = budget_usd or job.budget_usd
        _open_again(session, job)
        return job.id


def retry_job(engine: Engine, reference: str) -> int:
    """Put dead chunks, and chunks in which single users failed, back among those to do; how many."""
    again = sa.or_(RefreshChunk.status == FAILED, sa.and_(RefreshChunk.status == DONE, RefreshChunk.failed > 0))
    with transaction(engine) as session:
        job = _find(session, reference)
        values = {"status": PENDING, "attempts": 0, "not_before": None, "lease": None}
        statement = sa.update(RefreshChunk).filter_by(job_id=job.id).where(again).values(values)
        n_again = int(session.execute(statement).rowcount)  # type: ignore[attr-defined]
        if n_again:
            _open_again(session, job)
        return n_again


def dead_letters(engine: Engine, reference: str) -> list[DeadChunk]:
    """What could not be done, by chunk."""
    with reading(engine) as session:
        job = _find(session, reference)
        rows = session.scalars(
            sa.select(RefreshChunk).filter_by(job_id=job.id, status=FAILED).order_by(RefreshChunk.position)
        ).all()
    snapshot = open_snapshot(Path(job.spec["snapshot"])) if rows else None
    return [
        DeadChunk(
            row.position,
            row.attempts,
            row.error or "unknown",
            tuple(wish.history.user_id for wish in snapshot.chunk(row.position)) if snapshot else (),
        )
        for row in rows
    ]


def user_problems(engine: Engine, reference: str) -> Counter[str]:
    """Why single users have no profile, counted over the whole refresh."""
    problems: Counter[str] = Counter()
    with reading(engine) as session:
        job = _find(session, reference)
        for (found,) in session.execute(sa.select(RefreshChunk.problems).filter_by(job_id=job.id)):
            problems.update(found)
    return problems


def _open_again(session: Session, job: RefreshJob) -> None:
    job.status, job.ended_at, job.error = PENDING, None, None
    session.flush()
    close_if_done(session, job.id)


def _find(session: Session, reference: str) -> RefreshJob:
    rows = session.scalars(sa.select(RefreshJob).where(RefreshJob.id.startswith(reference, autoescape=True))).all()
    if len(rows) != 1:
        raise RefreshError(f"{len(rows)} refreshes begin with {reference!r}; `retort refresh status` lists them.")
    return rows[0]


def _status(session: Session, job: RefreshJob) -> JobStatus:
    sums = [
        sa.func.coalesce(sa.func.sum(column), 0)
        for column in (
            RefreshChunk.done,
            RefreshChunk.written,
            RefreshChunk.reused,
            RefreshChunk.failed,
            RefreshChunk.prompt_tokens,
            RefreshChunk.completion_tokens,
            RefreshChunk.cost_usd,
        )
    ]
    totals = tuple(session.execute(sa.select(*sums).where(RefreshChunk.job_id == job.id)).one())
    done, written, reused, failed, prompt, completion, cost = totals
    by_status = sa.select(RefreshChunk.status, sa.func.count()).filter_by(job_id=job.id).group_by(RefreshChunk.status)
    owners = sa.select(RefreshChunk.owner).filter_by(job_id=job.id, status=RUNNING).distinct()
    return JobStatus(
        job.id,
        job.name,
        job.status,
        job.n_users,
        job.n_chunks,
        job.created_at,
        job.started_at,
        job.ended_at,
        job.error,
        job.budget_tokens,
        job.budget_usd,
        dict(session.execute(by_status).all()),
        int(done),
        int(written),
        int(reused),
        int(failed),
        int(prompt),
        int(completion),
        float(cost),
        _rate(session, job),
        tuple(sorted(owner for owner in session.scalars(owners) if owner)),
    )


def _rate(session: Session, job: RefreshJob) -> float:
    """Users a second, of the last ten minutes in which anything ended."""
    if job.started_at is None:
        return 0.0
    until = job.ended_at or moment(session)
    since = max(job.started_at, until - _RATE_OVER)
    recent = sa.select(sa.func.sum(RefreshChunk.done)).filter_by(job_id=job.id)
    heard = sa.func.coalesce(RefreshChunk.ended_at, RefreshChunk.heartbeat_at) >= since
    users = session.execute(recent.where(heard)).scalar_one() or 0
    seconds = (until - since).total_seconds()
    return int(users) / seconds if seconds > 0 else 0.0
