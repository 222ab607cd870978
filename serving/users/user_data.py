"""Data of one user in the history and the database: read and erase; never used by the fast path."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from sqlalchemy import Engine, func, select

from retort.serving.runtime.database import database_exists, run_database_call
from retort.serving.users.erasure import Erasure, ErasureStore
from retort.shared.base.errors import RetortError, StoreError
from retort.shared.db.models import Event, Exposure, Profile
from retort.shared.db.session import open_database, reading
from retort.shared.events.events_table import forget_events
from retort.shared.events.exposures_table import forget_exposures
from retort.shared.events.session_rows import forget_sessions, sessions_of
from retort.shared.history.store import HistoryStore, Owner
from retort.shared.profiles.profile_choices import erase_profile, find_choices

logger = logging.getLogger(__name__)

# An erasure may delete millions of rows; the caller waits less long and gets `pending`.
_STATEMENT_TIMEOUT_S = 300.0

Row = TypeVar("Row", Event, Exposure)

# Rows that are listed; the total number is always returned.
MAX_LISTED = 1000
RETRY_INTERVAL_S = 30.0


@dataclass(frozen=True)
class DeletedRows:
    """Number of deleted rows by table."""

    profiles: int
    events: int
    exposures: int


class UserDataService:
    """Reader and eraser of a user's data. Queries of the database run in a thread."""

    def __init__(
        self,
        histories: HistoryStore,
        erasures: ErasureStore,
        database_url: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._histories = histories
        self.erasures = erasures
        self._database_url = database_url
        self._clock = clock
        self._engine: Engine | None = None

    async def read_stored(self, owner: Owner) -> dict[str, Any] | None:
        """Read what the database holds of the user; None without a database."""
        if not database_exists(self._database_url):
            return None
        return await run_database_call(lambda: read_stored(self._database(), owner))

    async def erase(self, owner: Owner, request_id: str) -> Erasure:
        """Erase a user: record the erasure, delete the history, try the database once; the rest is retried later.

        A repeated request, and any request while an erasure is pending, continues that erasure. It deletes nothing that
        was stored after the first request.
        """
        erasure = await self.erasures.read(owner)
        if erasure is None or (erasure.status == "done" and erasure.request_id != request_id):
            erasure = Erasure("pending", self._now_ms(), 0, request_id=request_id)
            await self.erasures.write(owner, erasure)
        elif erasure.status == "done":
            return erasure
        return await self._continue_erasure(owner, erasure)

    async def run(self) -> None:
        """Retry pending erasures until cancelled."""
        while True:
            await asyncio.sleep(RETRY_INTERVAL_S)
            try:
                await self.finish_pending()
            except StoreError as error:
                logger.warning("erasures are pending", extra={"reason": str(error)})
            except Exception:  # pending erasures must not wait for a restart
                logger.exception("erasures failed")

    async def finish_pending(self) -> None:
        """Retry each pending erasure once; a failure does not delay the others and is raised at the end."""
        failed: Exception | None = None
        for owner in await self.erasures.pending():
            try:
                if (erasure := await self.erasures.read(owner)) is not None:
                    await self._continue_erasure(owner, erasure)
            except Exception as error:  # noqa: BLE001 - raised below, after the other erasures
                failed = error
        if failed is not None:
            raise failed

    def close(self) -> None:
        """Close the connections to the database."""
        if self._engine is not None:
            self._engine.dispose()

    async def _continue_erasure(self, owner: Owner, erasure: Erasure) -> Erasure:
        """Try everything that is left and return the new state."""
        await self.erasures.drop_themes(owner)
        forgotten = await self._histories.forget(owner, erasure.requested_ms)
        if forgotten:
            erasure = replace(erasure, history=erasure.history + forgotten)
            await self.erasures.write(owner, erasure)
        try:
            sessions = await run_database_call(self._find_sessions, owner)
            erasure = await self._erase_sessions(owner.tenant, sessions, erasure)
            deleted = await run_database_call(self._delete_rows, owner, sessions, erasure.requested_ms)
        except RetortError as error:
            logger.warning("an erasure waits for a store", extra={"reason": str(error)})
            return erasure
        done = replace(erasure, status="done", finished_ms=self._now_ms(), **asdict(deleted))
        await self.erasures.write(owner, done)
        return done

    async def _erase_sessions(self, tenant: str, session_ids: list[str], erasure: Erasure) -> Erasure:
        """Erase the sessions before the rows that name them, because only these rows name them."""
        if not session_ids:
            return erasure
        forgotten = 0
        for session_id in session_ids:
            forgotten += await self._histories.forget(Owner(session_id, tenant, "session"), erasure.requested_ms)
        await self.erasures.mark_sessions(tenant, session_ids, erasure.requested_ms)
        return replace(erasure, history=erasure.history + forgotten)

    def _find_sessions(self, owner: Owner) -> list[str]:
        if not database_exists(self._database_url):
            return []
        return sessions_of(self._database(), owner.tenant, owner.id)

    def _delete_rows(self, owner: Owner, session_ids: list[str], requested_ms: int) -> DeletedRows:
        if not database_exists(self._database_url):
            return DeletedRows(0, 0, 0)
        return delete_stored(self._database(), owner, session_ids, requested_ms)

    def _database(self) -> Engine:
        if self._engine is None:
            self._engine = open_database(self._database_url, statement_timeout_s=_STATEMENT_TIMEOUT_S)
        return self._engine

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def read_stored(engine: Engine, owner: Owner) -> dict[str, Any]:
    """Read the user's profiles, profile choice, newest events and newest exposures, with their total numbers."""
    return {
        "profiles": _profiles(engine, owner),
        "choice": _choice(engine, owner),
        **_events(engine, owner),
        **_exposures(engine, owner),
    }


def delete_stored(engine: Engine, owner: Owner, session_ids: Sequence[str], until_ms: int) -> DeletedRows:
    """Delete the user's rows, also in these sessions, up to a time, and forbid new profiles.

    Args:
        until_ms: Time in ms since 1970; later rows stay.
    """
    # Sessions first: only the user's rows name them, so an interrupted deletion could not find them again.
    events, exposures = forget_sessions(engine, owner.tenant, session_ids, until_ms)
    return DeletedRows(
        profiles=erase_profile(engine, owner.id, tenant=owner.tenant),
        events=events + forget_events(engine, owner.tenant, owner.id, until_ms=until_ms),
        exposures=exposures + forget_exposures(engine, owner.tenant, owner.id, until_ms=until_ms),
    )


def _profiles(engine: Engine, owner: Owner) -> list[dict[str, Any]]:
    """Return all texts, newest first, including those that no training uses any more."""
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
    """Return the number of the user's rows and the newest of them."""
    own = select(table).filter_by(tenant=owner.tenant, user_id=owner.id)
    with reading(engine) as session:
        count = session.scalar(select(func.count()).select_from(own.subquery()))
        return count or 0, list(session.scalars(own.order_by(table.id.desc()).limit(MAX_LISTED)))


def _columns(row: Event | Exposure, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}
