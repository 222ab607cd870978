"""Refreshes in the database: creating, resuming and retrying them, and their dead letters."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from retort.offline.profiles.config import ProfilesConfig
from retort.offline.refresh.chunks import close_if_done
from retort.offline.refresh.snapshot import Snapshot, open_snapshot
from retort.shared.base.tracing import inject_trace
from retort.shared.db.models import DONE, FAILED, PENDING, RefreshChunk, RefreshJob
from retort.shared.db.session import reading, transaction
from retort.shared.history.keys import DEFAULT_TENANT
from retort.shared.profiles.refreshes import REQUESTED, UNFINISHED, RefreshError, find_job

_ROWS_PER_INSERT = 1000


@dataclass(frozen=True)
class DeadChunk:
    """A chunk that is a dead letter: its users, the number of attempts and the last error."""

    position: int
    attempts: int
    error: str
    user_ids: tuple[str, ...]


@dataclass(frozen=True)
class JobSpec:
    """What a worker needs to know of a refresh: how texts are written, its snapshot, and the trace of its start."""

    tenant: str
    profiles: ProfilesConfig
    snapshot: Path
    trace: Mapping[str, str]


def create_job(
    engine: Engine,
    name: str,
    profiles: ProfilesConfig,
    snapshot: Snapshot,
    *,
    budget_tokens: int | None = None,
    budget_usd: float | None = None,
    origin: Mapping[str, Any] | None = None,
    tenant: str = DEFAULT_TENANT,
) -> str:
    """Create a refresh of a snapshot's users, which workers find by themselves. Returns its id.

    origin: parameters for repeating it.
    """
    _check_budget(profiles, budget_usd)
    job_id = uuid.uuid4().hex
    with transaction(engine) as session:
        job = RefreshJob(
            id=job_id,
            tenant=tenant,
            name=name,
            spec={"origin": dict(origin), "trace": inject_trace()} if origin else {"trace": inject_trace()},
            n_users=0,
            n_chunks=0,
            budget_tokens=budget_tokens,
            budget_usd=budget_usd,
        )
        session.add(job)
        _fill(session, job, profiles, snapshot)
    return job_id


def fill_job(engine: Engine, job_id: str, profiles: ProfilesConfig, snapshot: Snapshot) -> bool:
    """Fill a requested refresh with chunks. Returns False if it was cancelled or another worker filled it first."""
    with transaction(engine) as session:
        job = session.get_one(RefreshJob, job_id, with_for_update=True)
        if job.status != REQUESTED:
            return False
        _check_budget(profiles, job.budget_usd)
        job.status = PENDING
        _fill(session, job, profiles, snapshot)
    return True


def _fill(session: Session, job: RefreshJob, profiles: ProfilesConfig, snapshot: Snapshot) -> None:
    """Write spec, budget and chunks. The caller commits."""
    written = {"profiles": profiles.model_dump(mode="json"), "snapshot": str(snapshot.root.absolute())}
    job.spec = {**job.spec, **written}
    job.n_users, job.n_chunks = snapshot.n_users, snapshot.n_chunks
    if job.budget_tokens is None:
        job.budget_tokens = profiles.spending.max_tokens
    if job.budget_usd is None:
        job.budget_usd = profiles.spending.max_usd
    session.flush()
    job_id, sizes = job.id, _sizes(snapshot, profiles.chunk_users)
    for start in range(0, len(sizes), _ROWS_PER_INSERT):
        rows = enumerate(sizes[start : start + _ROWS_PER_INSERT], start=start)
        session.add_all(RefreshChunk(job_id=job_id, position=place, n_users=n) for place, n in rows)
        session.flush()
        session.expunge_all()


def _check_budget(profiles: ProfilesConfig, budget_usd: float | None) -> None:
    if budget_usd is not None and profiles.spending.cost_usd(0, 0) is None:
        raise RefreshError(
            "a budget in USD requires prices; set [profiles.spending] usd_per_million_input and usd_per_million_output."
        )


def _sizes(snapshot: Snapshot, chunk_users: int) -> list[int]:
    last = snapshot.n_users - chunk_users * (snapshot.n_chunks - 1)
    return [chunk_users] * (snapshot.n_chunks - 1) + [last]


def read_spec(engine: Engine, job_id: str) -> JobSpec:
    """Read the part of a refresh that its workers need."""
    with reading(engine) as session:
        job = session.get_one(RefreshJob, job_id)
    profiles = ProfilesConfig.model_validate(job.spec["profiles"])
    return JobSpec(job.tenant, profiles, Path(job.spec["snapshot"]), job.spec.get("trace", {}))


def resume_job(
    engine: Engine, reference: str, *, budget_tokens: int | None = None, budget_usd: float | None = None
) -> str:
    """Resume a refresh that was cancelled or stopped by its budget, with a new budget if given. Returns its id."""
    with transaction(engine) as session:
        job = find_job(session, reference)
        if job.status in (DONE, *UNFINISHED):
            raise RefreshError(f"refresh {job.id[:8]} is {job.status}; there is nothing to resume.")
        job.budget_tokens = budget_tokens or job.budget_tokens
        job.budget_usd = budget_usd or job.budget_usd
        _open_again(session, job)
        return job.id


def retry_job(engine: Engine, reference: str) -> int:
    """Queue dead letters, and chunks in which single users failed, again. Returns the number of chunks."""
    again = sa.or_(RefreshChunk.status == FAILED, sa.and_(RefreshChunk.status == DONE, RefreshChunk.failed > 0))
    with transaction(engine) as session:
        job = find_job(session, reference)
        values = {"status": PENDING, "attempts": 0, "not_before": None, "lease": None}
        statement = sa.update(RefreshChunk).filter_by(job_id=job.id).where(again).values(values)
        n_again = int(session.execute(statement).rowcount)  # type: ignore[attr-defined]
        if n_again:
            _open_again(session, job)
        return n_again


def dead_letters(engine: Engine, reference: str) -> list[DeadChunk]:
    """Read the dead letters of a refresh in the order of their chunks."""
    with reading(engine) as session:
        job = find_job(session, reference)
        rows = session.scalars(
            sa.select(RefreshChunk).filter_by(job_id=job.id, status=FAILED).order_by(RefreshChunk.position)
        ).all()
    snapshot = open_snapshot(Path(job.spec["snapshot"])) if rows else None
    return [
        DeadChunk(
            row.position,
            row.attempts,
            row.error or "unknown",
            tuple(request.history.user_id for request in snapshot.chunk(row.position)) if snapshot else (),
        )
        for row in rows
    ]


def _open_again(session: Session, job: RefreshJob) -> None:
    job.status, job.ended_at, job.error = PENDING, None, None
    session.flush()
    close_if_done(session, job.id)
