"""Events table: written by the drain, read for training, deleted with the user."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from hashlib import blake2b
from typing import Any, TypeVar

from sqlalchemy import Engine, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from retort.shared.db.models import Event
from retort.shared.db.session import reading, transaction
from retort.shared.events.events import Merge, StreamedEvent
from retort.shared.events.exposures_table import forget_exposures, merge_exposures
from retort.shared.events.session_rows import forget_sessions, sessions_of
from retort.shared.history.keys import DEFAULT_TENANT
from retort.shared.history.store import SEPARATOR

T = TypeVar("T")

_ROWS_AT_ONCE = 10_000
_VALUES_AT_ONCE = 500


def event_key(event: StreamedEvent) -> str:
    """Return the identity of an event: owner and event_id, as 32 hex digits.

    The event_id alone is not enough: ids derived from item and time are equal for two users.
    """
    return _key(event.user_id, event.session_id, event.event_id)


def _key(user_id: str | None, session_id: str | None, *parts: str) -> str:
    kind, owner = ("user", user_id) if user_id is not None else ("session", session_id or "")
    return blake2b(SEPARATOR.join((kind, str(owner), *parts)).encode(), digest_size=16).hexdigest()


def _former_key(user_id: str | None, session_id: str | None, item_id: str, event_id: str) -> str:
    """Return the key of rows of earlier versions, in which the item was part of an event's identity."""
    return _key(user_id, session_id, item_id, event_id)


def store_events(engine: Engine, events: Sequence[StreamedEvent]) -> None:
    """Insert the events in one transaction; existing ones stay unchanged."""
    rows = [_row(event) for event in events]
    if not rows:
        return
    insert = sqlite.insert if engine.dialect.name == "sqlite" else postgresql.insert
    with transaction(engine) as session:
        former = [_former_key(event.user_id, event.session_id, event.item_id, event.event_id) for event in events]
        held = set(_existing_keys(session, {row["tenant"] for row in rows}, former))
        new = [row for row, key in zip(rows, former, strict=True) if (row["tenant"], key) not in held]
        if new:
            session.execute(insert(Event).on_conflict_do_nothing(index_elements=["tenant", "event_key"]), new)


def _row(event: StreamedEvent) -> dict[str, Any]:
    return {**asdict(event), "impressions": list(event.impressions), "event_key": event_key(event)}


class EventsTable:
    """The events table as a drain target."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def keep(self, events: Sequence[StreamedEvent]) -> None:
        """Insert the events."""
        store_events(self._engine, events)

    def sessions_of(self, tenant: str, user_id: str) -> list[str]:
        """Return the sessions in which the user was identified."""
        return sessions_of(self._engine, tenant, user_id)

    def forget(self, tenant: str, user_id: str, until_ms: int) -> int:
        """Delete what was accepted of the user, and shown to the user, up to a time; a merge assigns both."""
        shown = forget_exposures(self._engine, tenant, user_id, until_ms=until_ms)
        return shown + forget_events(self._engine, tenant, user_id, until_ms=until_ms)

    def forget_session(self, tenant: str, session_id: str, until_ms: int) -> int:
        """Delete events and exposures of the session without a user, up to a time."""
        return sum(forget_sessions(self._engine, tenant, [session_id], until_ms))

    def merge(self, merge: Merge) -> None:
        """Assign the guest's earlier events and exposures to the user."""
        merge_events(self._engine, merge)
        merge_exposures(self._engine, merge)


def read_events(engine: Engine, *, tenant: str = DEFAULT_TENANT) -> Iterator[list[Event]]:
    """Yield all events of a tenant in the order of arrival, in batches."""
    last = 0
    while True:
        query = select(Event).filter_by(tenant=tenant).where(Event.id > last).order_by(Event.id).limit(_ROWS_AT_ONCE)
        with reading(engine) as session:
            rows = list(session.scalars(query))
        if not rows:
            return
        yield rows
        last = rows[-1].id


def forget_events(engine: Engine, tenant: str, user_id: str, *, until_ms: int | None = None) -> int:
    """Delete a user's events, and those without a user of sessions in which the user was identified.

    Args:
        until_ms: Only what was accepted by then, so that events after the request for an erasure count again.

    Returns:
        The number of events.
    """
    own = select(Event.session_id).where(
        Event.tenant == tenant, Event.user_id == user_id, Event.session_id.is_not(None)
    )
    without_user = Event.user_id.is_(None) & Event.session_id.in_(own)
    statement = delete(Event).where(Event.tenant == tenant, or_(Event.user_id == user_id, without_user))
    if until_ms is not None:
        statement = statement.where(Event.accepted_ms <= until_ms)
    with transaction(engine) as session:
        result = session.execute(statement.execution_options(synchronize_session=False))
        return int(getattr(result, "rowcount", 0))


def merge_events(engine: Engine, merge: Merge) -> int:
    """Assign a guest's events to the user; events that the user has already are deleted.

    Returns:
        The number of events that were new for the user.
    """
    guest = (
        Event.user_id == merge.guest_user_id
        if merge.guest_user_id is not None
        else Event.user_id.is_(None) & (Event.session_id == merge.guest_session_id)
    )
    query = select(Event.id, Event.item_id, Event.event_id, Event.event_key).where(
        Event.tenant == merge.tenant, guest, Event.accepted_ms <= merge.merged_ms
    )
    with transaction(engine) as session:
        if engine.dialect.name == "postgresql":
            # Two workers that merge a into b and b into a would each delete the duplicate that the other keeps.
            session.execute(select(func.pg_advisory_xact_lock(func.hashtext(f"merge/{merge.tenant}"))))
        rows = list(session.execute(query.order_by(Event.id)))
        new_events: dict[str, int] = {}
        for row_id, item_id, event_id, key in rows:
            new_events.setdefault(_moved_key(merge, item_id, event_id, key), row_id)
        for _, held in _existing_keys(session, {merge.tenant}, list(new_events)):
            del new_events[held]
        moved = [{"id": row_id, "user_id": merge.user_id, "event_key": key} for key, row_id in new_events.items()]
        if moved:
            session.execute(update(Event), moved)
        duplicates = {row.id for row in rows} - set(new_events.values())
        for chunk in _chunks(sorted(duplicates)):
            session.execute(delete(Event).where(Event.id.in_(chunk)).execution_options(synchronize_session=False))
    return len(moved)


def _moved_key(merge: Merge, item_id: str, event_id: str, key: str) -> str:
    """Return the key that a guest's row has for the user; a row of an earlier version keeps its kind of key."""
    if key == _former_key(merge.guest_user_id, merge.guest_session_id, item_id, event_id):
        return _former_key(merge.user_id, None, item_id, event_id)
    return _key(merge.user_id, None, event_id)


def _existing_keys(session: Session, tenants: set[str], event_keys: list[str]) -> list[tuple[str, str]]:
    """Which of these events are in the table, as (tenant, key)."""
    found: list[tuple[str, str]] = []
    for chunk in _chunks(event_keys):
        held = Event.tenant.in_(tenants) & Event.event_key.in_(chunk)
        rows = session.execute(select(Event.tenant, Event.event_key).where(held))
        found += [(tenant, key) for tenant, key in rows]
    return found


def _chunks(values: list[T]) -> Iterator[list[T]]:
    """Split values: both databases limit the parameters of one statement."""
    for start in range(0, len(values), _VALUES_AT_ONCE):
        yield values[start : start + _VALUES_AT_ONCE]
