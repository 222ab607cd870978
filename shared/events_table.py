"""Events in the database: written by the drain, read for the next training, deleted with their user."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from hashlib import blake2b
from typing import Any

from sqlalchemy import Engine, delete, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from shared.db.models import Event
from shared.db.session import reading, transaction
from shared.event_stream import StreamedEvent
from shared.history import SEPARATOR
from shared.keys import DEFAULT_TENANT

_ROWS_AT_ONCE = 10_000


def event_key(event: StreamedEvent) -> str:
    """What makes two events the same, as in the history: owner, item and event_id. 32 hex digits.

    The event_id alone would not do: ids that are derived from an item and a time are the same for two users.
    """
    kind, owner = ("user", event.user_id) if event.user_id is not None else ("session", event.session_id or "")
    parts = (kind, str(owner), event.item_id, event.event_id)
    return blake2b(SEPARATOR.join(parts).encode(), digest_size=16).hexdigest()


def store_events(engine: Engine, events: Sequence[StreamedEvent]) -> None:
    """Keep the events, in one transaction; those that are there already stay as they are."""
    rows = [_row(event) for event in events]
    if not rows:
        return
    insert = sqlite.insert if engine.dialect.name == "sqlite" else postgresql.insert
    with transaction(engine) as session:
        session.execute(insert(Event).on_conflict_do_nothing(index_elements=["tenant", "event_key"]), rows)


def _row(event: StreamedEvent) -> dict[str, Any]:
    return {**asdict(event), "impressions": list(event.impressions), "event_key": event_key(event)}


class EventsTable:
    """The table as a place to drain to."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def keep(self, events: Sequence[StreamedEvent]) -> None:
        """Store them."""
        store_events(self._engine, events)

    def forget(self, tenant: str, user_id: str, until_ms: int) -> int:
        """Delete what was accepted of the user until then."""
        return forget_events(self._engine, tenant, user_id, until_ms=until_ms)


def read_events(engine: Engine, *, tenant: str = DEFAULT_TENANT) -> Iterator[list[Event]]:
    """All of a tenant's events in the order of their arrival, so many rows at a time."""
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
    """Delete a user's events, and the nameless ones of sessions that the user was seen in; how many.

    until_ms: only what was accepted by then. What the user does after an erasure was asked for counts again.
    """
    own = select(Event.session_id).where(
        Event.tenant == tenant, Event.user_id == user_id, Event.session_id.is_not(None)
    )
    nameless = Event.user_id.is_(None) & Event.session_id.in_(own)
    doomed = delete(Event).where(Event.tenant == tenant, or_(Event.user_id == user_id, nameless))
    if until_ms is not None:
        doomed = doomed.where(Event.accepted_ms <= until_ms)
    with transaction(engine) as session:
        result = session.execute(doomed.execution_options(synchronize_session=False))
        return int(getattr(result, "rowcount", 0))
