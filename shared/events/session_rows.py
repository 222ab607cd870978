"""Rows of a user's sessions in the events and exposures tables; they are deleted with the user."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Engine, delete, select
from sqlalchemy.orm import InstrumentedAttribute

from retort.shared.db.models import Event, Exposure
from retort.shared.db.session import reading, transaction

_VALUES_AT_ONCE = 500


def sessions_of(engine: Engine, tenant: str, user_id: str) -> list[str]:
    """Return the sessions that either table stores with the user."""
    found: set[str] = set()
    with reading(engine) as session:
        for table in (Event, Exposure):
            query = select(table.session_id).where(table.tenant == tenant, table.user_id == user_id).distinct()
            found.update(session_id for session_id in session.scalars(query) if session_id is not None)
    return sorted(found)


def forget_sessions(engine: Engine, tenant: str, session_ids: Sequence[str], until_ms: int) -> tuple[int, int]:
    """Delete the sessions' events and exposures without a user, up to a time.

    Returns:
        The numbers of events and of exposures.
    """
    with transaction(engine) as session:

        def drop(table: type[Event | Exposure], at_ms: InstrumentedAttribute[int]) -> int:
            count = 0
            for start in range(0, len(session_ids), _VALUES_AT_ONCE):
                without_user: ColumnElement[bool] = table.user_id.is_(None) & table.session_id.in_(
                    session_ids[start : start + _VALUES_AT_ONCE]
                )
                statement = delete(table).where(table.tenant == tenant, without_user, at_ms <= until_ms)
                result: Any = session.execute(statement.execution_options(synchronize_session=False))
                count += int(result.rowcount)
            return count

        return drop(Event, Event.accepted_ms), drop(Exposure, Exposure.shown_ms)
