"""Refreshes of profiles for both sides: request, read and cancel. Their execution belongs to the offline side.

A requested refresh is a row of status `asked`; a worker freezes the histories and adds the chunks. It repeats a refresh
that was started from the command line, so no path and no recipe is sent over HTTP.
"""

import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine
from sqlalchemy.orm import Session, defer

from retort.shared.base.errors import RetortError
from retort.shared.base.tracing import inject_trace
from retort.shared.db.models import CANCELLED, PENDING, RUNNING, RefreshChunk, RefreshJob, now
from retort.shared.db.session import database_time, reading, transaction
from retort.shared.history.keys import DEFAULT_TENANT

REQUESTED = "asked"
ALIVE = (PENDING, RUNNING)
UNFINISHED = (REQUESTED, *ALIVE)
_RATE_WINDOW = timedelta(minutes=10)
# Columns of the refresh, and sums over its chunks, that a status contains unchanged.
_COPIED = (
    *("id", "name", "status", "n_users", "n_chunks", "budget_tokens", "budget_usd"),
    *("created_at", "started_at", "ended_at", "error"),
)
_SUMMED = ("written", "reused", "failed", "prompt_tokens", "completion_tokens")


class RefreshError(RetortError):
    """A refresh that does not exist or is in the wrong state for the request."""


class RefreshBusyError(RefreshError):
    """Another refresh of the same name is not finished."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Progress of a refresh.

    users_done: users with a current profile, in finished and running chunks. written, reused and failed count texts.
    result: what became of new items; None for other refreshes.
    """

    id: str
    name: str
    status: str
    users_done: int
    written: int
    reused: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    users_per_s: float
    budget_tokens: int | None
    budget_usd: float | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    error: str | None
    result: str | None = None


@dataclass(frozen=True, kw_only=True)
class JobStatus(Progress):
    """State of one refresh, as read from the database, with its chunks and workers."""

    n_users: int
    n_chunks: int
    chunks: dict[str, int]
    owners: tuple[str, ...]

    @property
    def seconds_left(self) -> float | None:
        """Remaining seconds at the latest rate; None if it is unknown."""
        if self.status not in ALIVE or not self.users_per_s:
            return None
        return max(0, self.n_users - self.users_done - self.failed) / self.users_per_s


def read_job(engine: Engine, reference: str, tenant: str | None = None) -> JobStatus:
    """Read one refresh by its id or a unique prefix of it. tenant: only refreshes of this tenant."""
    with reading(engine) as session:
        return _status(session, find_job(session, reference, tenant))


def read_jobs(engine: Engine, *, limit: int = 20, tenant: str = DEFAULT_TENANT) -> list[JobStatus]:
    """Read the latest refreshes, newest first."""
    query = sa.select(RefreshJob).filter_by(tenant=tenant).order_by(RefreshJob.created_at.desc(), RefreshJob.id)
    with reading(engine) as session:
        # a request for new items holds them in its spec
        jobs = session.scalars(query.limit(limit).options(defer(RefreshJob.spec))).all()
        return [_status(session, job) for job in jobs]


def request_refresh(
    engine: Engine,
    name: str,
    options: Mapping[str, Any],
    *,
    budget_tokens: int | None = None,
    budget_usd: float | None = None,
    tenant: str = DEFAULT_TENANT,
) -> str:
    """Request a repetition of the latest refresh of this name. Returns the id of the new refresh.

    Args:
        options: policy, rules, user_ids, asked_by.

    Raises:
        RefreshError: no refresh of this name was started by `retort refresh start`.
        RefreshBusyError: a refresh of this name is not finished.
    """
    with transaction(engine) as session:
        query = sa.select(RefreshJob).filter_by(tenant=tenant, name=name).order_by(RefreshJob.created_at.desc())
        jobs = session.scalars(query).all()
        for job in jobs:
            if job.status in UNFINISHED:
                raise RefreshBusyError(
                    f"refresh {job.id[:8]} of {name} is still {job.status}; wait for it or cancel it."
                )
        origin = next((job.spec["origin"] for job in jobs if job.spec.get("origin")), None)
        if origin is None:
            raise RefreshError(
                f"no refresh named {name!r} is known; start the first one by `retort refresh start RECIPE`."
            )
        spec = {"origin": origin, "asked": dict(options), "trace": inject_trace()}
        requested = RefreshJob(
            id=uuid.uuid4().hex,
            tenant=tenant,
            name=name,
            spec=spec,
            status=REQUESTED,
            n_users=0,
            n_chunks=0,
            budget_tokens=budget_tokens,
            budget_usd=budget_usd,
        )
        session.add(requested)
        return requested.id


def cancel_job(engine: Engine, reference: str, tenant: str | None = None) -> str:
    """Cancel a refresh. Workers stop at their next heartbeat; texts that are written stay. Returns its id."""
    with transaction(engine) as session:
        job = find_job(session, reference, tenant)
        if job.status not in UNFINISHED:
            raise RefreshError(f"refresh {job.id[:8]} is {job.status}; only one that waits or runs can be cancelled.")
        job.status, job.ended_at = CANCELLED, now()
        return job.id


def user_problems(engine: Engine, reference: str) -> Counter[str]:
    """Count the reasons why single users have no profile, over the whole refresh."""
    problems: Counter[str] = Counter()
    with reading(engine) as session:
        job = find_job(session, reference)
        for (found,) in session.execute(sa.select(RefreshChunk.problems).filter_by(job_id=job.id)):
            problems.update(found)
    return problems


def find_job(session: Session, reference: str, tenant: str | None = None) -> RefreshJob:
    """Find the row of an id or a unique prefix of it. tenant: only refreshes of this tenant."""
    query = sa.select(RefreshJob).where(RefreshJob.id.startswith(reference, autoescape=True))
    rows = session.scalars(query if tenant is None else query.filter_by(tenant=tenant)).all()
    if len(rows) != 1:
        raise RefreshError(
            f"{len(rows)} refreshes have an id that starts with {reference!r}; `retort refresh status` lists them."
        )
    return rows[0]


def _status(session: Session, job: RefreshJob) -> JobStatus:
    names = ("done", *_SUMMED, "cost_usd")
    sums = [sa.func.coalesce(sa.func.sum(getattr(RefreshChunk, name)), 0).label(name) for name in names]
    totals = session.execute(sa.select(*sums).where(RefreshChunk.job_id == job.id)).one()._mapping
    by_status = sa.select(RefreshChunk.status, sa.func.count()).filter_by(job_id=job.id).group_by(RefreshChunk.status)
    owners = sa.select(RefreshChunk.owner).filter_by(job_id=job.id, status=RUNNING).distinct()
    taken: dict[str, Any] = {name: getattr(job, name) for name in _COPIED}
    taken |= {name: int(totals[name]) for name in _SUMMED}
    result = sa.select(RefreshJob.spec["result"].as_string()).filter_by(id=job.id)
    return JobStatus(
        **taken,
        result=session.execute(result).scalar_one(),
        users_done=int(totals["done"]),
        cost_usd=float(totals["cost_usd"]),
        users_per_s=_rate(session, job),
        chunks=dict(session.execute(by_status).all()),
        owners=tuple(sorted(owner for owner in session.scalars(owners) if owner)),
    )


def _rate(session: Session, job: RefreshJob) -> float:
    """Compute users per second over the last ten minutes of the refresh."""
    if job.started_at is None:
        return 0.0
    until = job.ended_at or database_time(session)
    since = max(job.started_at, until - _RATE_WINDOW)
    recent = sa.select(sa.func.sum(RefreshChunk.done)).filter_by(job_id=job.id)
    is_recent = sa.func.coalesce(RefreshChunk.ended_at, RefreshChunk.heartbeat_at) >= since
    users = session.execute(recent.where(is_recent)).scalar_one() or 0
    seconds = (until - since).total_seconds()
    return int(users) / seconds if seconds > 0 else 0.0
