"""Events on a Redis Stream: what serving accepted, and the writer that adds it.

Serving adds an event before it confirms it; `shared/events/drain.py` stores the events in the database.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from redis.exceptions import RedisError

from retort.shared.base.errors import StoreError
from retort.shared.events.erasures import owner_of, queue_erasures, read_erasures
from retort.shared.history import keys
from retort.shared.history.store import Owner

FIELD = "event"
MERGE_FIELD = "merge"
# An event that is sent again later than this is counted again, but still stored once.
_COUNTED_FOR_S = 86_400


@dataclass(frozen=True, slots=True)
class StreamedEvent:
    """An accepted event; `time_ms` is the event's own time, `accepted_ms` the time when serving accepted it."""

    event_id: str
    tenant: str
    item_id: str
    event_type: str
    weight: float
    time_ms: int
    accepted_ms: int
    user_id: str | None = None
    session_id: str | None = None
    value: float | None = None
    request_id: str | None = None
    impressions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Merge:
    """A guest (a session or another user) was identified as this user, who takes over the guest's earlier events."""

    tenant: str
    user_id: str
    merged_ms: int
    guest_user_id: str | None = None
    guest_session_id: str | None = None

    @property
    def accepted_ms(self) -> int:
        return self.merged_ms

    @property
    def session_id(self) -> str | None:
        """The session in which the user was identified."""
        return self.guest_session_id


class EventWriter:
    """Writer of events, for serving, over redis-py's asyncio client."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def add(
        self, events: Sequence[StreamedEvent], once: Sequence[str] = ()
    ) -> tuple[list[bool], dict[Owner, int]]:
        """Add events to the stream, in one round trip.

        Args:
            once: Keys to set, so that repeated events are counted once.

        Returns:
            For each key in `once`, whether it was new; and the erased owners among those of earlier events, with the
            time of the erasure in ms. Their events until then must not enter a history again.

        Raises:
            StoreError: Redis is unavailable.
        """
        earlier = (event for event in events if event.time_ms < event.accepted_ms)
        owners = sorted({owner for event in earlier if (owner := owner_of(event)) is not None})
        try:
            pipeline = self._client.pipeline(transaction=False)
            for key in once:
                pipeline.set(key, b"", nx=True, ex=_COUNTED_FOR_S)
            for event in events:
                pipeline.xadd(keys.event_stream(), {FIELD: orjson.dumps(event)})
            queue_erasures(pipeline, owners)
            replies = await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreError(
                f"events could not be added to the stream ({type(error).__name__}); check that Redis is running."
            ) from error
        is_first = [reply is not None for reply in replies[: len(once)]]
        return is_first, read_erasures(owners, replies[len(once) + len(events) :])

    async def add_merge(self, merge: Merge) -> None:
        """Add a merge after the events that came before it."""
        try:
            await self._client.xadd(keys.event_stream(), {MERGE_FIELD: orjson.dumps(merge)})
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreError(
                f"a merge could not be added to the stream ({type(error).__name__}); check that Redis is running."
            ) from error
