"""Forgetting a user: the history at once, what the database holds as soon as it answers, with a status to poll.

The note of an erasure lives in Redis, so any worker may finish what another began, and a server that was killed in
between goes on when it is back.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import orjson
from redis.exceptions import RedisError
from sqlalchemy import Engine, select

from serving.database import database_exists
from shared import keys
from shared.db.models import Profile
from shared.db.session import open_database, reading
from shared.errors import RetortError, StoreError
from shared.events_table import forget_events
from shared.history import SEPARATOR, HistoryStore, Owner
from shared.profile_choices import erase_profile

logger = logging.getLogger(__name__)

KEEP_NOTES_S = 90 * 86_400
RETRY_EVERY_S = 30.0


@dataclass(frozen=True)
class Erasure:
    """How far it is. Times in ms since 1970; `profiles` and `events` are None until the database has answered."""

    status: str
    requested_ms: int
    history: int
    profiles: int | None = None
    events: int | None = None
    finished_ms: int | None = None


class Notes(Protocol):
    """Where erasures are noted."""

    async def write(self, owner: Owner, erasure: Erasure) -> None:
        """Keep the note; a pending one is listed until it is done."""

    async def read(self, owner: Owner) -> Erasure | None:
        """The note, or None."""

    async def pending(self) -> list[Owner]:
        """Who is not wholly forgotten yet."""


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

    async def profiles(self, owner: Owner) -> list[dict[str, Any]]:
        """The user's profiles, newest first."""
        return await asyncio.to_thread(self._read_profiles, owner)

    async def erase(self, owner: Owner) -> Erasure:
        """Note it, drop the history, try the database once; what could not be done now is tried again."""
        before = Erasure("pending", self._now_ms(), 0)
        await self.notes.write(owner, before)
        forgotten = await self._histories.forget(owner)
        started = replace(before, history=forgotten)
        await self.notes.write(owner, started)
        return await self._finish(owner, started)

    async def run(self) -> None:
        """Finish what is pending, until cancelled."""
        while True:
            await asyncio.sleep(RETRY_EVERY_S)
            try:
                await self.finish_pending()
            except StoreError as error:
                logger.warning("erasures wait", extra={"reason": str(error)})

    async def finish_pending(self) -> None:
        """One more try for each."""
        for owner in await self.notes.pending():
            note = await self.notes.read(owner)
            if note is not None:
                forgotten = await self._histories.forget(owner)
                await self._finish(owner, replace(note, history=note.history + forgotten))

    async def _finish(self, owner: Owner, note: Erasure) -> Erasure:
        try:
            profiles, events = await asyncio.to_thread(self._delete_rows, owner, note.requested_ms)
        except RetortError as error:
            logger.warning("an erasure waits for the database", extra={"reason": str(error)})
            return note
        done = replace(note, status="done", profiles=profiles, events=events, finished_ms=self._now_ms())
        await self.notes.write(owner, done)
        return done

    def _read_profiles(self, owner: Owner) -> list[dict[str, Any]]:
        if not database_exists(self._database_url):
            return []
        query = select(Profile).filter_by(tenant=owner.tenant, user_id=owner.id).order_by(Profile.id.desc())
        with reading(self._database()) as session:
            return [
                {"aspect": row.aspect, "text": row.text, "model": row.model, "written_at": row.created_at.isoformat()}
                for row in session.scalars(query)
                if row.text is not None
            ]

    def _delete_rows(self, owner: Owner, requested_ms: int) -> tuple[int, int]:
        """Profiles and events that are gone. What the user did after asking counts again and stays."""
        if not database_exists(self._database_url):
            return 0, 0
        profiles = erase_profile(self._database(), owner.id, tenant=owner.tenant)
        return profiles, forget_events(self._database(), owner.tenant, owner.id, until_ms=requested_ms)

    def _database(self) -> Engine:
        if self._engine is None:
            self._engine = open_database(self._database_url)
        return self._engine

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)
