"""What the database holds of one user: read for whoever may see it, deleted when they go; never on the hot routes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Engine, func, select

from retort.shared.db.models import Event, Exposure, Profile
from retort.shared.db.session import reading
from retort.shared.events.events_table import forget_events
from retort.shared.events.exposures_table import forget_exposures
from retort.shared.events.session_rows import forget_sessions
from retort.shared.history.store import Owner
from retort.shared.profiles.profile_choices import erase_profile, find_choices

Row = TypeVar("Row", Event, Exposure)

# Rows that are listed one by one; how many there are is always said.
MAX_LISTED = 1000


@dataclass(frozen=True)
class Deleted:
    """How many rows are gone."""

    profiles: int
    events: int
    exposures: int


def read_stored(engine: Engine, owner: Owner) -> dict[str, Any]:
    """Profiles, the person's own choice, and the newest events and shown lists with their number."""
    return {
        "profiles": _profiles(engine, owner),
        "choice": _choice(engine, owner),
        **_events(engine, owner),
        **_exposures(engine, owner),
    }


def delete_stored(engine: Engine, owner: Owner, session_ids: Sequence[str], until_ms: int) -> Deleted:
    """Delete what there was at that moment, also in these sessions, and note that no profile may be written again."""
    # The sessions first: the rows that name them are the only ones that know of them, should this be cut short.
    events, exposures = forget_sessions(engine, owner.tenant, session_ids, until_ms)
    return Deleted(
        profiles=erase_profile(engine, owner.id, tenant=owner.tenant),
        events=events + forget_events(engine, owner.tenant, owner.id, until_ms=until_ms),
        exposures=exposures + forget_exposures(engine, owner.tenant, owner.id, until_ms=until_ms),
    )


def _profiles(engine: Engine, owner: Owner) -> list[dict[str, Any]]:
    """All texts, newest first: also those that no training uses any more."""
    query = select(Profile).filter_by(tenant=owner.tenant, user_id=owner.id).order_by(Profile.id.desc())
    with reading(engine) as session:
        return [
            {"aspect": row.aspect, "text": row.text, "model": row.model, "written_at": row.created_at.isoformat()}
            for row in session.scalars(query)
            if row.text is not None
        ]


def _choice(engine: Engine, owner: Owner) -> dict[str, Any] | None:
    choice = find_choices(engine, [owner.id], tenant=owner.tenant).get(owner.id)
    if choice is None:
        return None
    return {"kind": choice.kind, "text": choice.text, "set_at": choice.set_at.isoformat()}


def _events(engine: Engine, owner: Owner) -> dict[str, Any]:
    count, rows = _newest(engine, owner, Event)
    names = ("item_id", "event_type", "value", "time_ms", "session_id", "request_id")
    return {"n_events": count, "events": [_columns(row, names) for row in rows]}


def _exposures(engine: Engine, owner: Owner) -> dict[str, Any]:
    count, rows = _newest(engine, owner, Exposure)
    names = ("request_id", "item_ids", "shown_ms", "source")
    return {"n_exposures": count, "exposures": [_columns(row, names) for row in rows]}


def _newest(engine: Engine, owner: Owner, table: type[Row]) -> tuple[int, list[Row]]:
    """How many rows the table holds of the user, and the last of them."""
    own = select(table).filter_by(tenant=owner.tenant, user_id=owner.id)
    with reading(engine) as session:
        count = session.scalar(select(func.count()).select_from(own.subquery()))
        return count or 0, list(session.scalars(own.order_by(table.id.desc()).limit(MAX_LISTED)))


def _columns(row: Event | Exposure, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}
