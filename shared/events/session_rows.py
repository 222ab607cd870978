"""What the tables of events and of shown lists hold of sessions in which a user was named: it ends with the user."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Engine, delete, select
from sqlalchemy.orm import InstrumentedAttribute

from retort.shared.db.models import Event, Exposure
from retort.shared.db.session import reading, transaction

_VALUES_AT_ONCE = 500


def sessions_of(engine: Engine, tenant: str, user_id: str) -> list[str]:
    """The sessions that either table names beside the user."""
    found: set[str] = set()
    with reading(engine) as session:
        for table in (Event, Exposure):
            query = select(table.session_id).where(table.tenant == tenant, table.user_id == user_id).distinct()
            found.update(one for one in session.scalars(query) if one is not None)
    return sorted(found)


def forget_sessions(engine: Engine, tenant: str, session_ids: Sequence[str], until_ms: int) -> tuple[int, int]:
    """Delete the sessions' nameless events and lists up to a moment; how many of each."""
    with transaction(engine) as session:

        def drop(table: type[Event | Exposure], at_ms: InstrumentedAttribute[int]) -> int:
            count = 0
            for start in range(0, len(session_ids), _VALUES_AT_ONCE):
                nameless: ColumnElement[bool] = table.user_id.is_(None) & table.session_id.in_(
                    session_ids[start : start + _VALUES_AT_ONCE]
                )
                doomed = delete(table).where(table.tenant == tenant, nameless, at_ms <= until_ms)
                result: Any = session.execute(doomed.execution_options(synchronize_session=False))
                count += int(result.rowcount)
            return count

        return drop(Event, Event.accepted_ms), drop(Exposure, Exposure.shown_ms)
