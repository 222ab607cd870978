"""Leases of refresh chunks: which chunk is next, its progress and cost, and what its end means for its refresh."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from retort.offline.jobs.leases import Lease, LeaseRules, WorkItem, acquire, due
from retort.offline.profiles.report import ProfilesReport
from retort.offline.profiles.token_budget import SpendingConfig
from retort.shared.db.models import DONE, FAILED, PENDING, RUNNING, STOPPED, RefreshChunk, RefreshJob
from retort.shared.db.session import database_time, transaction
from retort.shared.profiles.new_items import SPEC as NEW_ITEMS
from retort.shared.profiles.refreshes import ALIVE

# With this many dead letters and no finished chunk, the refresh itself is at fault, not its chunks.
_ABORT_AFTER_DEAD_CHUNKS = 5


class ChunkItem(WorkItem):
    """A leased chunk. `report` counts the present attempt; tokens and cost of earlier attempts are added to it."""

    def __init__(self, engine: Engine, lease: Lease, row: RefreshChunk, rules: LeaseRules) -> None:
        super().__init__(engine, lease)
        self.rules = rules
        self.report = ProfilesReport("")
        self.spending = SpendingConfig()
        self.job_id, self.position, self.n_users = row.job_id, row.position, row.n_users
        self._before = (row.prompt_tokens, row.completion_tokens, row.cost_usd)

    def columns(self) -> dict[str, Any]:
        report, (prompt_tokens, completion_tokens, cost_usd) = self.report, self._before
        cost = self.spending.cost_usd(report.prompt_tokens, report.completion_tokens, report.cached_tokens)
        return {
            "done": min(self.n_users - len(report.failed_users), report.written + report.reused),
            "written": report.written,
            "reused": report.reused,
            "failed": report.failed,
            "problems": dict(report.problems),
            "prompt_tokens": prompt_tokens + report.prompt_tokens,
            "completion_tokens": completion_tokens + report.completion_tokens,
            "cost_usd": cost_usd + (cost or 0.0),
        }

    def final_columns(self) -> dict[str, Any]:
        return {"done": self.n_users - len(self.report.failed_users)}

    def lock_parent(self, session: Session) -> None:
        # two workers that end the last two chunks at once would each see the other's chunk as running
        _lock_job(session, self.job_id)

    def ended(self, session: Session, error: str | None) -> None:
        close_if_done(session, self.job_id)

    def reason_to_halt(self, session: Session) -> str | None:
        job = session.get_one(RefreshJob, self.job_id)
        if job.status not in ALIVE:
            return f"the refresh {job.id[:8]} is {job.status}"
        spent = _stop_if_spent(session, job)
        return f"the refresh {job.id[:8]} has spent its budget ({spent})" if spent else None


def lease_chunk(engine: Engine, owner: str, rules: LeaseRules, job_id: str | None = None) -> ChunkItem | None:
    """Acquire the next chunk of the oldest refresh, or of one refresh. Returns None if no chunk is due."""
    while True:
        with transaction(engine) as session:
            at = database_time(session)
            row = session.scalars(_next_chunk(at, rules, job_id)).first()
            if row is None:
                return None
            # heartbeats check the budget too, but a short chunk ends before the first one
            if not _begin_job(session, row.job_id, at) or _stop_if_spent(
                session, session.get_one(RefreshJob, row.job_id)
            ):
                continue
            lease = acquire(session, row, owner, rules, f"chunk {row.position} of refresh {row.job_id[:8]}")
            if lease is not None:
                row.done = row.written = row.reused = row.failed = 0
                return ChunkItem(engine, lease, row, rules)
            session.flush()
            close_if_done(session, row.job_id)


def _next_chunk(at: datetime, rules: LeaseRules, job_id: str | None) -> sa.Select[RefreshChunk]:
    query = (
        sa.select(RefreshChunk)
        .join(RefreshJob, RefreshJob.id == RefreshChunk.job_id)
        .where(RefreshJob.status.in_(ALIVE), due(RefreshChunk, rules, at))
        .order_by(RefreshJob.created_at, RefreshChunk.job_id, RefreshChunk.position)
        .limit(1)
        # workers do not wait for each other: each takes the next row that no other transaction has locked
        .with_for_update(skip_locked=True, of=RefreshChunk)
    )
    return query if job_id is None else query.where(RefreshChunk.job_id == job_id)


def _begin_job(session: Session, job_id: str, at: datetime) -> bool:
    """Mark the refresh as running. Returns False if it was cancelled meanwhile."""
    started = sa.func.coalesce(RefreshJob.started_at, at)
    alive = sa.update(RefreshJob).where(RefreshJob.id == job_id, RefreshJob.status.in_(ALIVE))
    return bool(session.execute(alive.values(status=RUNNING, started_at=started)).rowcount)  # type: ignore[attr-defined]


def next_try_s(engine: Engine) -> float | None:
    """Return the seconds until a failed chunk may be tried again, or None if no chunk waits."""
    with transaction(engine) as session:
        query = (
            sa.select(RefreshChunk.not_before)
            .join(RefreshJob, RefreshJob.id == RefreshChunk.job_id)
            .where(RefreshJob.status.in_(ALIVE), RefreshChunk.status == PENDING, RefreshChunk.not_before.is_not(None))
            .order_by(RefreshChunk.not_before)
            .limit(1)
        )
        due_at = session.scalars(query).first()
        return None if due_at is None else max(0.0, (due_at - database_time(session)).total_seconds())


def close_if_done(session: Session, job_id: str) -> None:
    """End a refresh that has no chunk left to do. The caller has locked the row of the refresh."""
    job = session.get_one(RefreshJob, job_id)
    by_status = sa.select(RefreshChunk.status, sa.func.count()).filter_by(job_id=job_id).group_by(RefreshChunk.status)
    counts = dict(session.execute(by_status).all())
    dead = counts.get(FAILED, 0)
    left = counts.get(PENDING, 0) + counts.get(RUNNING, 0)
    if job.status not in ALIVE or (left and (dead < _ABORT_AFTER_DEAD_CHUNKS or counts.get(DONE))):
        return
    job.status, job.ended_at = (FAILED if dead else DONE), database_time(session)
    if not dead and NEW_ITEMS not in job.spec and _wrote_nothing(session, job_id):  # new items are added without too
        nothing = "no item got a text" if "knowledge" in job.spec else "no user got a profile"
        job.status = FAILED
        job.error = (
            f"{nothing}; `retort refresh status {job_id[:8]}` shows why, and "
            f"`retort refresh retry {job_id[:8]}` tries again"
        )
    if dead:
        first = sa.select(RefreshChunk.error).filter_by(job_id=job_id, status=FAILED).order_by(RefreshChunk.position)
        job.error = (
            f"{dead} of {job.n_chunks} chunks are dead letters (`retort refresh dead {job_id[:8]}` shows them, "
            f"`retort refresh retry {job_id[:8]}` tries them again); the first: {session.scalar(first.limit(1))}"
        )


def _wrote_nothing(session: Session, job_id: str) -> bool:
    good = sa.func.coalesce(sa.func.sum(RefreshChunk.written + RefreshChunk.reused), 0)
    failed = sa.func.coalesce(sa.func.sum(RefreshChunk.failed), 0)
    n_good, n_failed = session.execute(sa.select(good, failed).filter_by(job_id=job_id)).one()
    return bool(n_failed) and not n_good


def _stop_if_spent(session: Session, job: RefreshJob) -> str | None:
    """Stop a refresh that has reached its budget; returns what is spent, or None."""
    spent = _over_budget(session, job)
    if spent is not None:
        job.status, job.ended_at, job.error = STOPPED, database_time(session), f"the budget is spent: {spent}"
    return spent


def _over_budget(session: Session, job: RefreshJob) -> str | None:
    if job.budget_tokens is None and job.budget_usd is None:
        return None
    tokens = sa.func.sum(RefreshChunk.prompt_tokens + RefreshChunk.completion_tokens)
    row = session.execute(sa.select(tokens, sa.func.sum(RefreshChunk.cost_usd)).filter_by(job_id=job.id)).one()
    used, usd = int(row[0] or 0), float(row[1] or 0.0)
    if job.budget_tokens is not None and used >= job.budget_tokens:
        return f"{used:,} of {job.budget_tokens:,} tokens"
    if job.budget_usd is not None and usd >= job.budget_usd:
        return f"${usd:.2f} of ${job.budget_usd:.2f}"
    return None


def _lock_job(session: Session, job_id: str) -> None:
    session.get_one(RefreshJob, job_id, with_for_update=True)
