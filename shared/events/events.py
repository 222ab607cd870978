"""Events on a Redis Stream: what serving accepted, and the writer that adds it.

Serving adds an event before it confirms it; `shared/events/drain.py` stores the events in the database.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from redis.exceptions import RedisError, ResponseError

from retort.shared.base.errors import StoreError
from retort.shared.events.erasures import erasure_command, owner_of, read_erasures
from retort.shared.history import keys
from retort.shared.history.cluster_reads import Command
from retort.shared.history.store import Owner

# Runs commands in one round trip to each node; a failed one gives its exception.
RunCommands = Callable[[Sequence[Command]], Awaitable[list[Any]]]

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
    """Writer of events, for serving, over redis-py's asyncio client.

    Args:
        run: Runs commands on the nodes of a cluster, each apart from the others; default: one pipeline.
    """

    def __init__(self, client: Any, run: RunCommands | None = None) -> None:
        self._client = client
        self._run_commands = run or self._run_pipeline

    async def add(
        self, events: Sequence[StreamedEvent], once: Sequence[str] = ()
    ) -> tuple[list[bool], dict[Owner, int | StoreError]]:
        """Add events to the stream, in one round trip to each node.

        Args:
            once: Keys to set, so that repeated events are counted once.

        Returns:
            For each key in `once`, whether it was new; and the erased owners among those of earlier events, with the
            time of the erasure in ms, or with the error if it cannot be read. Their events until then must not enter a
            history again.

        Raises:
            StoreError: Redis is unavailable, or refuses the events.
        """
        earlier = (event for event in events if event.time_ms < event.accepted_ms)
        owners = sorted({owner for event in earlier if (owner := owner_of(event)) is not None})
        commands: list[Command] = [("SET", key, b"", "NX", "EX", _COUNTED_FOR_S) for key in once]
        commands += [("XADD", keys.event_stream(), "*", FIELD, orjson.dumps(event)) for event in events]
        commands += [erasure_command(owner) for owner in owners]
        try:
            replies = await self._run_commands(commands)
        except StoreError as error:
            raise StoreError(f"events could not be added to the stream: {error}") from error
        except (RedisError, OSError, TimeoutError) as error:
            raise _not_added("events", error) from error
        added = replies[len(once) : len(once) + len(events)]
        for reply in added:
            if isinstance(reply, Exception):
                raise _not_added("events", reply) from reply
        # A key that cannot be set is counted: the event is accepted, so it is not sent again.
        is_first = [reply is not None for reply in replies[: len(once)]]
        return is_first, read_erasures(owners, replies[len(once) + len(events) :])

    async def _run_pipeline(self, commands: Sequence[Command]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        replies: list[Any] = await pipeline.execute(raise_on_error=False)
        return replies

    async def add_merge(self, merge: Merge) -> None:
        """Add a merge after the events that came before it."""
        try:
            await self._client.xadd(keys.event_stream(), {MERGE_FIELD: orjson.dumps(merge)})
        except (RedisError, OSError, TimeoutError) as error:
            raise _not_added("a merge", error) from error


def _not_added(what: str, error: Exception) -> StoreError:
    cause = str(error) if isinstance(error, ResponseError) else type(error).__name__
    return StoreError(f"{what} could not be added to the stream ({cause}); {remedy(error, keys.event_stream())}.")


def remedy(error: Exception, stream: str) -> str:
    """Return what to do when Redis refuses, or does not answer, a command on a stream."""
    if "WRONGTYPE" in str(error):
        return f"delete or rename the key {stream}, which another program has written"
    return "check REDIS_URL and that Redis is running"
