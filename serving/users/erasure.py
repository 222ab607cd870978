"""State of erasures, which callers can poll.

The state is in Redis, so any worker can finish an erasure that another began, also after a restart.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import orjson
from redis.exceptions import RedisError

from retort.shared.base.errors import StoreError
from retort.shared.events.erasures import record_erased_sessions
from retort.shared.history import keys
from retort.shared.history.store import SEPARATOR, Owner

RETENTION_S = 90 * 86_400

# When memory is full, Redis refuses writes that need memory, but not within a script that has deleted something before:
# an erasure must be possible then, because it frees memory. The themes are part of what is erased.
_WRITE = """
redis.call('UNLINK', KEYS[2])
return redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
"""
_LIST = """
redis.call('SREM', KEYS[1], ARGV[1])
return redis.call('SADD', KEYS[1], ARGV[1])
"""


@dataclass(frozen=True)
class Erasure:
    """State of one erasure.

    Attributes:
        status: "pending" or "done".
        requested_ms: Time of the first request, in ms since 1970; data stored later is kept.
        history: Deleted events of the history.
        profiles: Deleted rows of the database, as are `events` and `exposures`; None until it has answered.
        request_id: Id of the request, to recognise a repetition.
    """

    status: str
    requested_ms: int
    history: int
    profiles: int | None = None
    events: int | None = None
    exposures: int | None = None
    finished_ms: int | None = None
    request_id: str | None = None


class ErasureStore(Protocol):
    """Store of the states of erasures."""

    async def write(self, owner: Owner, erasure: Erasure) -> None:
        """Store the state; a pending erasure is listed until it is done."""

    async def read(self, owner: Owner) -> Erasure | None:
        """Return the state, or None."""

    async def pending(self) -> list[Owner]:
        """Return the users whose erasure is pending."""

    async def drop_themes(self, owner: Owner) -> None:
        """Delete the themes of the user's profile, which explanations use."""

    async def mark_sessions(self, tenant: str, session_ids: Sequence[str], until_ms: int) -> None:
        """Mark sessions whose events and lists, accepted until then, the drain must drop."""


class MemoryErasureStore:
    """Store in the memory of one process."""

    def __init__(self) -> None:
        self._erasures: dict[Owner, Erasure] = {}

    async def write(self, owner: Owner, erasure: Erasure) -> None:
        self._erasures[owner] = erasure

    async def read(self, owner: Owner) -> Erasure | None:
        return self._erasures.get(owner)

    async def pending(self) -> list[Owner]:
        return [owner for owner, erasure in self._erasures.items() if erasure.status == "pending"]

    async def drop_themes(self, owner: Owner) -> None:
        """Without Redis there are no themes."""

    async def mark_sessions(self, tenant: str, session_ids: Sequence[str], until_ms: int) -> None:
        """Without Redis there is no stream."""


class RedisErasureStore:
    """Store in Redis."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def write(self, owner: Owner, erasure: Erasure) -> None:
        name = f"{owner.tenant}{SEPARATOR}{owner.id}"
        try:
            # The state first: a pending erasure without it could not be continued.
            state = orjson.dumps(asdict(erasure))
            own = keys.erasure(owner.tenant, owner.id), keys.themes(owner.tenant, owner.id)
            await self._client.eval(_WRITE, 2, *own, state, RETENTION_S)
            if erasure.status == "pending":
                await self._client.eval(_LIST, 1, keys.erasures_pending(), name)
            else:
                await self._client.srem(keys.erasures_pending(), name)
        except (RedisError, OSError) as error:
            raise StoreError(f"the erasure could not be stored ({type(error).__name__}); is Redis up?") from error

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
            raise StoreError(f"themes could not be deleted ({type(error).__name__}); is Redis up?") from error

    async def mark_sessions(self, tenant: str, session_ids: Sequence[str], until_ms: int) -> None:
        try:
            await record_erased_sessions(self._client, tenant, session_ids, until_ms)
        except (RedisError, OSError) as error:
            raise StoreError(f"sessions could not be marked ({type(error).__name__}); is Redis up?") from error
