"""New items for both sides: a request for them, which workers fulfil as a refresh of one chunk.

The request holds the items themselves, so no path is sent over HTTP. Its id is the hash of its content: the same items
sent again are the same request.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from retort.shared.base.hashing import hash_json
from retort.shared.base.tracing import inject_trace
from retort.shared.db.models import DONE, PENDING, RefreshChunk, RefreshJob
from retort.shared.db.session import transaction
from retort.shared.history.keys import DEFAULT_TENANT
from retort.shared.profiles.refreshes import UNFINISHED, RefreshBusyError

NAME = "new items"
SPEC = "new_items"  # key of the spec of such a refresh
MAX_WAITING = 100  # requests of a tenant that may wait at once
_ID_DIGITS = 32


@dataclass(frozen=True)
class NewItems:
    """New items to add to the champion.

    Attributes:
        items: item_id, title, attributes (name → value), and knowledge where it is given.
        share: Largest share of the places in lists of ten that they may take; None: their share of the catalogue.
        requested_by: Name of the caller's key.
    """

    items: Sequence[Mapping[str, Any]]
    share: float | None = None
    requested_by: str | None = None

    @property
    def content_hash(self) -> str:
        """Hash of the items and the share, whatever their order and whoever sends them."""
        return hash_json([sorted(self.items, key=lambda item: str(item["item_id"])), self.share])

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> "NewItems | None":
        """Read the spec of a refresh; None where it is one of another kind."""
        found = spec.get(SPEC)
        return None if found is None else cls(found["items"], found["share"], found["requested_by"])

    def as_spec(self) -> dict[str, Any]:
        """Return what `from_spec` reads."""
        items = [dict(item) for item in self.items]
        return {SPEC: {"items": items, "share": self.share, "requested_by": self.requested_by}}


def request_new_items(
    engine: Engine,
    new: NewItems,
    *,
    is_served: Callable[[str], bool] = lambda item_id: False,
    tenant: str = DEFAULT_TENANT,
) -> str:
    """Request that new items are described and added to the champion. Returns the id of the refresh.

    A request with the same content is not made twice: the first one is returned, and opened again if it has failed or
    if its items are no longer served, as after a training without them.

    Args:
        is_served: Whether the serving bundle has an item.

    Raises:
        RefreshBusyError: Too many requests wait.
    """
    job_id = hash_json([NAME, tenant, new.content_hash])[:_ID_DIGITS]
    with transaction(engine) as session:
        job = session.get(RefreshJob, job_id, with_for_update=True)
        if job is None:
            _refuse_many(session, tenant)
            _create(session, job_id, new, tenant)
        elif _is_due(job, new, is_served):
            _refuse_many(session, tenant)
            _open_again(session, job)
    return job_id


def save_result(engine: Engine, job_id: str, sentence: str) -> None:
    """Store what became of the items."""
    with transaction(engine) as session:
        job = session.get_one(RefreshJob, job_id, with_for_update=True)
        job.spec = {**job.spec, "result": sentence}


def _is_due(job: RefreshJob, new: NewItems, is_served: Callable[[str], bool]) -> bool:
    if job.status in UNFINISHED:
        return False
    return job.status != DONE or not all(is_served(str(item["item_id"])) for item in new.items)


def _refuse_many(session: Session, tenant: str) -> None:
    waiting = sa.select(sa.func.count()).select_from(RefreshJob).where(RefreshJob.status.in_(UNFINISHED))
    if session.execute(waiting.filter_by(tenant=tenant, name=NAME)).scalar_one() >= MAX_WAITING:
        raise RefreshBusyError(
            f"{MAX_WAITING} requests for new items wait for a worker; send more items in one request, and check that "
            "a worker of the queue gpu-llm runs."
        )


def _create(session: Session, job_id: str, new: NewItems, tenant: str) -> None:
    n_items = len(new.items)
    spec = {**new.as_spec(), "trace": inject_trace()}
    session.add(RefreshJob(id=job_id, tenant=tenant, name=NAME, spec=spec, n_users=n_items, n_chunks=1))
    session.flush()
    session.add(RefreshChunk(job_id=job_id, position=0, n_users=n_items))


def _open_again(session: Session, job: RefreshJob) -> None:
    job.status, job.ended_at, job.error = PENDING, None, None
    job.spec = {key: value for key, value in job.spec.items() if key != "result"}
    again = sa.update(RefreshChunk).filter_by(job_id=job.id)
    session.execute(again.values(status=PENDING, attempts=0, not_before=None, lease=None))
