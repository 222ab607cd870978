"""Forgetting a user: the history at once, what the database holds as soon as it answers, with a status to poll.

The note of an erasure lives in Redis, so any worker may finish what another began, and a server that was killed in
between goes on when it is back.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import orjson
from redis.exceptions import RedisError
from sqlalchemy import Engine

from retort.serving.runtime.database import database_exists
from retort.serving.users.user_data import Deleted, delete_stored, read_stored
from retort.shared.base.errors import RetortError, StoreError
from retort.shared.db.session import open_database
from retort.shared.events.erasures import record_erased_sessions
from retort.shared.events.session_rows import sessions_of
from retort.shared.history import keys
from retort.shared.history.store import SEPARATOR, HistoryStore, Owner

logger = logging.getLogger(__name__)

KEEP_NOTES_S = 90 * 86_400
RETRY_EVERY_S = 30.0


@dataclass(frozen=True)
class Erasure:
    """How far it is. Times in ms since 1970; what the database held is None until it has answered.

    `requested_ms` bounds it: what the user does after that counts again, however often the request is sent.
    """

    status: str
    requested_ms: int
    history: int
    profiles: int | None = None
    events: int | None = None
    exposures: int | None = None
    finished_ms: int | None = None
    request_id: str | None = None


class Notes(Protocol):
    """Where erasures are noted."""

    async def write(self, owner: Owner, erasure: Erasure) -> None:
        """Keep the note; a pending one is listed until it is done."""

    async def read(self, owner: Owner) -> Erasure | None:
        """The note, or None."""

    async def pending(self) -> list[Owner]:
        """Who is not wholly forgotten yet."""

    async def drop_themes(self, owner: Owner) -> None:
        """Forget the words that explanations are made with."""

    async def name_sessions(self, tenant: str, session_ids: Sequence[str], until_ms: int) -> None:
        """Tell the drain whose nameless events, accepted until then, it is to drop."""


class MemoryNotes:
    """Notes of one process."""

    def __init__(self) -> None:
        self._notes: dict[Owner, Erasure] = {}

    async def write(self, owner: Owner, erasure: Erasure) -> None:
        self._notes[owner] = erasure

    async def read(self, owner: Owner) -> Erasure | None:
        return self._notes.get(owner)

    async def pending(self) -> list[Owner]:
        return [owner for owner, erasure in self._notes.items() if erasure.status == "pending"]

    async def drop_themes(self, owner: Owner) -> None:
        """There are none without Redis."""

    async def name_sessions(self, tenant: str, session_ids: Sequence[str], until_ms: int) -> None:
        """There is no stream without Redis."""


class RedisNotes:
    """Notes in Redis."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def write(self, owner: Owner, erasure: Erasure) -> None:
        name = f"{owner.tenant}{SEPARATOR}{owner.id}"
        try:
            pipeline = self._client.pipeline(transaction=False)
            pipeline.set(keys.erasure(owner.tenant, owner.id), orjson.dumps(asdict(erasure)), ex=KEEP_NOTES_S)
            (pipeline.sadd if erasure.status == "pending" else pipeline.srem)(keys.erasures_pending(), name)
            await pipeline.execute()
        except (RedisError, OSError) as error:
            raise StoreError(f"the erasure could not be noted ({type(error).__name__}); is Redis up?") from error

    async def read(self, owner: Owner) -> Erasure | None:
        try:
            raw = await self._client.get(keys.erasure(owner.tenant, owner.id))
        except (RedisError, OSError) as error:
            raise StoreError(f"the erasure could not be read ({type(error).__name__}); is Redis up?") from error
        return None if raw is None else Erasure(**orjson.loads(raw))

    async def pending(self) -> list[Owner]:
        try:
            names = await self._client.smembers(keys.erasures_pending())
        except (RedisError, OSError) as error:
            raise StoreError(f"erasures could not be listed ({type(error).__name__}); is Redis up?") from error
        pairs = [name.decode().partition(SEPARATOR) for name in names]
        return [Owner(user_id, tenant) for tenant, _, user_id in pairs]

    async def drop_themes(self, owner: Owner) -> None:
        try:
            await self._client.unlink(keys.themes(owner.tenant, owner.id))
        except (RedisError, OSError) as error:
            raise StoreError(f"themes could not be dropped ({type(error).__name__}); is Redis up?") from error

    async def name_sessions(self, tenant: str, session_ids: Sequence[str], until_ms: int) -> None:
        try:
            await record_erased_sessions(self._client, tenant, session_ids, until_ms)
        except (RedisError, OSError) as error:
            raise StoreError(f"sessions could not be noted ({type(error).__name__}); is Redis up?") from error


class People:
    """What is known of a user, and its end. The database is asked in a thread, and never by the hot routes."""

    def __init__(
        self, histories: HistoryStore, notes: Notes, database_url: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._histories = histories
        self.notes = notes
        self._database_url = database_url
        self._clock = clock
        self._engine: Engine | None = None

    async def stored(self, owner: Owner) -> dict[str, Any] | None:
        """What the database holds of the user; None where there is no database."""
        if not database_exists(self._database_url):
            return None
        return await asyncio.to_thread(lambda: read_stored(self._database(), owner))

    async def erase(self, owner: Owner, request_id: str) -> Erasure:
        """Note it, drop the history, try the database once; what could not be done now is tried again.

        A request that is sent again, and any while an erasure is pending, goes on with that erasure: it takes nothing
        that came after the first.
        """
        note = await self.notes.read(owner)
        if note is None or (note.status == "done" and note.request_id != request_id):
            note = Erasure("pending", self._now_ms(), 0, request_id=request_id)
            await self.notes.write(owner, note)
        elif note.status == "done":
            return note
        return await self._go_on(owner, note)

    async def run(self) -> None:
        """Finish what is pending, until cancelled."""
        while True:
            await asyncio.sleep(RETRY_EVERY_S)
            try:
                await self.finish_pending()
            except StoreError as error:
                logger.warning("erasures wait", extra={"reason": str(error)})
            except Exception:  # whoever waits to be forgotten must not wait for a restart
                logger.exception("erasures failed")

    async def finish_pending(self) -> None:
        """One more try for each; one that fails keeps none of the others waiting."""
        failed: Exception | None = None
        for owner in await self.notes.pending():
            try:
                if (note := await self.notes.read(owner)) is not None:
                    await self._go_on(owner, note)
            except Exception as error:  # noqa: BLE001 - raised below, after the others' turn
                failed = error
        if failed is not None:
            raise failed

    async def _go_on(self, owner: Owner, note: Erasure) -> Erasure:
        """One try at all that is left; the note says how far it came."""
        await self.notes.drop_themes(owner)
        forgotten = await self._histories.forget(owner, note.requested_ms)
        if forgotten:
            note = replace(note, history=note.history + forgotten)
            await self.notes.write(owner, note)
        try:
            sessions = await asyncio.to_thread(self._sessions, owner)
            note = await self._forget_sessions(owner.tenant, sessions, note)
            deleted = await asyncio.to_thread(self._delete_rows, owner, sessions, note.requested_ms)
        except RetortError as error:
            logger.warning("an erasure waits for a store", extra={"reason": str(error)})
            return note
        done = replace(note, status="done", finished_ms=self._now_ms(), **asdict(deleted))
        await self.notes.write(owner, done)
        return done

    async def _forget_sessions(self, tenant: str, session_ids: list[str], note: Erasure) -> Erasure:
        """Before the rows that name the sessions go: nothing else knows of them."""
        if not session_ids:
            return note
        forgotten = 0
        for session_id in session_ids:
            forgotten += await self._histories.forget(Owner(session_id, tenant, "session"), note.requested_ms)
        await self.notes.name_sessions(tenant, session_ids, note.requested_ms)
        return replace(note, history=note.history + forgotten)

    def _sessions(self, owner: Owner) -> list[str]:
        if not database_exists(self._database_url):
            return []
        return sessions_of(self._database(), owner.tenant, owner.id)

    def _delete_rows(self, owner: Owner, session_ids: list[str], requested_ms: int) -> Deleted:
        if not database_exists(self._database_url):
            return Deleted(0, 0, 0)
        return delete_stored(self._database(), owner, session_ids, requested_ms)

    def _database(self) -> Engine:
        if self._engine is None:
            self._engine = open_database(self._database_url)
        return self._engine

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)
