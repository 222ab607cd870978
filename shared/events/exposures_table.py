"""Exposures table: written by the drain, read for training, deleted with the user."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from hashlib import blake2b
from typing import Any

from sqlalchemy import Engine, delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from retort.shared.db import models
from retort.shared.db.session import reading, transaction
from retort.shared.events.events import Merge
from retort.shared.events.exposures import Exposure
from retort.shared.events.session_rows import forget_sessions, sessions_of
from retort.shared.history.keys import DEFAULT_TENANT
from retort.shared.history.store import SEPARATOR

_ROWS_AT_ONCE = 10_000


class ExposuresTable:
    """The exposures table as a drain target."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def keep(self, rows: Sequence[Exposure]) -> None:
        """Insert the rows in one transaction; existing ones stay unchanged."""
        if not rows:
            return
        insert = sqlite.insert if self._engine.dialect.name == "sqlite" else postgresql.insert
        statement = insert(models.Exposure).on_conflict_do_nothing(index_elements=["tenant", "exposure_key"])
        with transaction(self._engine) as session:
            session.execute(statement, [_row(exposure) for exposure in rows])

    def sessions_of(self, tenant: str, user_id: str) -> list[str]:
        """Return the sessions in which the user was identified."""
        return sessions_of(self._engine, tenant, user_id)

    def forget(self, tenant: str, user_id: str, until_ms: int) -> int:
        """Delete what was shown to the user up to a time."""
        return forget_exposures(self._engine, tenant, user_id, until_ms=until_ms)

    def forget_session(self, tenant: str, session_id: str, until_ms: int) -> int:
        """Delete exposures and events of the session without a user, up to a time."""
        return sum(forget_sessions(self._engine, tenant, [session_id], until_ms))


def read_exposures(engine: Engine, *, tenant: str = DEFAULT_TENANT) -> Iterator[list[models.Exposure]]:
    """Yield all exposures of a tenant in the order of arrival, in batches."""
    last = 0
    while True:
        query = select(models.Exposure).filter_by(tenant=tenant).where(models.Exposure.id > last)
        with reading(engine) as session:
            rows = list(session.scalars(query.order_by(models.Exposure.id).limit(_ROWS_AT_ONCE)))
        if not rows:
            return
        yield rows
        last = rows[-1].id


def forget_exposures(engine: Engine, tenant: str, user_id: str, *, until_ms: int) -> int:
    """Delete a user's exposures up to a time, and those without a user of sessions in which the user was identified.

    Returns:
        The number of lists.
    """
    table = models.Exposure
    own = select(table.session_id).where(
        table.tenant == tenant, table.user_id == user_id, table.session_id.is_not(None)
    )
    without_user = table.user_id.is_(None) & table.session_id.in_(own)
    statement = delete(table).where(
        table.tenant == tenant, or_(table.user_id == user_id, without_user), table.shown_ms <= until_ms
    )
    with transaction(engine) as session:
        result = session.execute(statement.execution_options(synchronize_session=False))
        return int(getattr(result, "rowcount", 0))


def merge_exposures(engine: Engine, merge: Merge) -> int:
    """Assign a guest's exposures to the user.

    Returns:
        The number of lists.
    """
    table = models.Exposure
    guest = (
        table.user_id == merge.guest_user_id
        if merge.guest_user_id is not None
        else table.user_id.is_(None) & (table.session_id == merge.guest_session_id)
    )
    given = update(table).where(table.tenant == merge.tenant, guest, table.shown_ms <= merge.merged_ms)
    with transaction(engine) as session:
        result = session.execute(given.values(user_id=merge.user_id).execution_options(synchronize_session=False))
        return int(getattr(result, "rowcount", 0))


def _row(exposure: Exposure) -> dict[str, Any]:
    owner = (exposure.user_id or "", exposure.session_id or "")
    parts = (exposure.request_id, exposure.shown_ms, exposure.first_rank, *owner, *exposure.item_ids)
    key = blake2b(SEPARATOR.join(map(str, parts)).encode(), digest_size=16).hexdigest()
    return {**asdict(exposure), "item_ids": list(exposure.item_ids), "exposure_key": key}
