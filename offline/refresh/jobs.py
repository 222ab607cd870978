"""Refreshes in the database: creating, resuming and retrying them, and their dead letters."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from retort.offline.knowledge.config import KnowledgeConfig
from retort.offline.profiles.config import ProfilesConfig
from retort.offline.profiles.token_budget import SpendingConfig
from retort.offline.refresh.chunks import close_if_done
from retort.offline.refresh.items import ItemSnapshot, open_item_snapshot
from retort.offline.refresh.snapshot import Snapshot, open_snapshot
from retort.shared.base.tracing import inject_trace
from retort.shared.db.models import DONE, FAILED, PENDING, RefreshChunk, RefreshJob
from retort.shared.db.session import reading, transaction
from retort.shared.history.keys import DEFAULT_TENANT
from retort.shared.profiles.new_items import NewItems
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
    """What a worker needs to know of a refresh: how texts are written, its snapshot, and the trace of its start.

    knowledge: set for a refresh of items, which does not use `profiles`.
    new_items: set for a request for new items, which uses neither and has no snapshot.
    """

    tenant: str
    profiles: ProfilesConfig
    snapshot: Path
    trace: Mapping[str, str]
    knowledge: KnowledgeConfig | None = None
    new_items: NewItems | None = None

    @property
    def spending(self) -> SpendingConfig:
        """Prices of the refresh."""
        return self.profiles.spending if self.knowledge is None else self.knowledge.spending


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
    content = _content(profiles, snapshot)
    return _create(engine, name, content, budget_tokens, budget_usd, origin, tenant)


def create_item_job(
    engine: Engine,
    name: str,
    knowledge: KnowledgeConfig,
    snapshot: ItemSnapshot,
    *,
    budget_tokens: int | None = None,
    budget_usd: float | None = None,
    origin: Mapping[str, Any] | None = None,
    tenant: str = DEFAULT_TENANT,
) -> str:
    """Create a refresh of a snapshot's items, as `create_job` does for users. Returns its id."""
    content = _item_content(knowledge, snapshot)
    return _create(engine, name, content, budget_tokens, budget_usd, origin, tenant)


class _Content(NamedTuple):
    """What fills a refresh: its part of the spec, the prices, and the sizes of its chunks."""

    spec: dict[str, Any]
    spending: SpendingConfig
    sizes: list[int]


def _content(profiles: ProfilesConfig, snapshot: Snapshot) -> _Content:
    spec = {"profiles": profiles.model_dump(mode="json"), "snapshot": str(snapshot.root.absolute())}
    return _Content(spec, profiles.spending, _sizes(snapshot.n_users, snapshot.n_chunks, profiles.chunk_users))


def _item_content(knowledge: KnowledgeConfig, snapshot: ItemSnapshot) -> _Content:
    spec = {"knowledge": knowledge.model_dump(mode="json"), "snapshot": str(snapshot.root.absolute())}
    return _Content(spec, knowledge.spending, _sizes(snapshot.n_items, snapshot.n_chunks, snapshot.chunk_items))


def _create(
    engine: Engine,
    name: str,
    content: _Content,
    budget_tokens: int | None,
    budget_usd: float | None,
    origin: Mapping[str, Any] | None,
    tenant: str,
) -> str:
    _check_budget(content.spending, budget_usd)
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
        _fill(session, job, content)
    return job_id


def fill_job(
    engine: Engine, job_id: str, config: ProfilesConfig | KnowledgeConfig, snapshot: Snapshot | ItemSnapshot
) -> bool:
    """Fill a requested refresh with chunks. Returns False if it was cancelled or another worker filled it first."""
    if isinstance(config, KnowledgeConfig) and isinstance(snapshot, ItemSnapshot):
        content = _item_content(config, snapshot)
    elif isinstance(config, ProfilesConfig) and isinstance(snapshot, Snapshot):
        content = _content(config, snapshot)
    else:
        raise TypeError("the configuration and the snapshot are of different kinds")
    with transaction(engine) as session:
        job = session.get_one(RefreshJob, job_id, with_for_update=True)
        if job.status != REQUESTED:
            return False
        _check_budget(content.spending, job.budget_usd)
        job.status = PENDING
        _fill(session, job, content)
    return True


def _fill(session: Session, job: RefreshJob, content: _Content) -> None:
    """Write spec, budget and chunks. The caller commits."""
    job.spec = {**job.spec, **content.spec}
    job_id, sizes = job.id, content.sizes
    job.n_users, job.n_chunks = sum(sizes), len(sizes)
    if job.budget_tokens is None:
        job.budget_tokens = content.spending.max_tokens
    if job.budget_usd is None:
        job.budget_usd = content.spending.max_usd
    session.flush()
    for start in range(0, len(sizes), _ROWS_PER_INSERT):
        rows = enumerate(sizes[start : start + _ROWS_PER_INSERT], start=start)
        session.add_all(RefreshChunk(job_id=job_id, position=place, n_users=n) for place, n in rows)
        session.flush()
        session.expunge_all()


def _check_budget(spending: SpendingConfig, budget_usd: float | None) -> None:
    if budget_usd is not None and spending.cost_usd(0, 0) is None:
        raise RefreshError(
            "a budget in USD requires prices; set [profiles.spending] usd_per_million_input and usd_per_million_output."
        )


def _sizes(n: int, n_chunks: int, chunk_size: int) -> list[int]:
    return [chunk_size] * (n_chunks - 1) + [n - chunk_size * (n_chunks - 1)]


def read_spec(engine: Engine, job_id: str) -> JobSpec:
    """Read the part of a refresh that its workers need."""
    with reading(engine) as session:
        job = session.get_one(RefreshJob, job_id)
    profiles = ProfilesConfig.model_validate(job.spec.get("profiles", {}))
    knowledge = KnowledgeConfig.model_validate(job.spec["knowledge"]) if "knowledge" in job.spec else None
    snapshot, trace = Path(job.spec.get("snapshot", "")), job.spec.get("trace", {})
    return JobSpec(job.tenant, profiles, snapshot, trace, knowledge, NewItems.from_spec(job.spec))


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
    ids = _ids_of_chunks(job.spec) if rows else (lambda _: ())
    return [DeadChunk(row.position, row.attempts, row.error or "unknown", ids(row.position)) for row in rows]


def _ids_of_chunks(spec: Mapping[str, Any]) -> Callable[[int], tuple[str, ...]]:
    """Return what gives the users, or the items, of a chunk."""
    if (new := NewItems.from_spec(spec)) is not None:
        ids = tuple(str(item["item_id"]) for item in new.items)
        return lambda _: ids
    root = Path(spec["snapshot"])
    if "knowledge" in spec:
        items = open_item_snapshot(root)
        return lambda position: tuple(items.chunk(position))
    users = open_snapshot(root)
    return lambda position: tuple(request.history.user_id for request in users.chunk(position))


def _open_again(session: Session, job: RefreshJob) -> None:
    job.status, job.ended_at, job.error = PENDING, None, None
    session.flush()
    close_if_done(session, job.id)
