"""Events on their way to the next training: a Redis Stream between serving, which writes, and a job, which drains.

Serving adds every accepted event before it says so. The job reads in batches, hands them to the database and only then
takes them off the stream: nothing is lost while the database is away, and an event that is handed over twice (the job
died in between) carries its `event_id`, so that the database keeps it once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, cast

import orjson
from redis import Redis
from redis.exceptions import RedisError, ResponseError

from retort.shared.base.errors import StoreError
from retort.shared.events.erasures import Personal, find_erased, owner_of, record_erased_sessions, sessions_of_erased
from retort.shared.events.exposures import Exposure, read_exposures
from retort.shared.history import keys
from retort.shared.history.redis_clients import open_client
from retort.shared.history.store import Owner

GROUP = "database"
_FIELD = "event"
_MERGE = "merge"
# A batch that another drainer took and did not finish within this time is taken over.
_ABANDONED_MS = 60_000
# A sender that tries again later than this is counted again; what it sends is stored once all the same.
_COUNTED_FOR_S = 86_400


@dataclass(frozen=True, slots=True)
class StreamedEvent:
    """One accepted event. `time_ms` is the event's own time, `accepted_ms` when serving took it."""

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
    """A guest, a session or another user, has turned out to be this user; what came before is theirs."""

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
        """The session that the user was named in by it."""
        return self.guest_session_id


class EventWriter:
    """Serving's side, over redis-py's asyncio client."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def add(self, events: Sequence[StreamedEvent], once: Sequence[str] = ()) -> list[bool]:
        """Put the events on the stream, in one round trip; which of the keys in `once` were not there before."""
        try:
            pipeline = self._client.pipeline(transaction=False)
            for key in once:
                pipeline.set(key, b"", nx=True, ex=_COUNTED_FOR_S)
            for event in events:
                pipeline.xadd(keys.event_stream(), {_FIELD: orjson.dumps(event)})
            answers = await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreError(f"events could not be put on the stream ({type(error).__name__}); is Redis up?") from error
        return [answer is not None for answer in answers[: len(once)]]

    async def add_merge(self, merge: Merge) -> None:
        """Put a merge behind the events that came before it."""
        try:
            await self._client.xadd(keys.event_stream(), {_MERGE: orjson.dumps(merge)})
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreError(
                f"a merge could not be put on the stream ({type(error).__name__}); is Redis up?"
            ) from error


P = TypeVar("P", bound=Personal)
P_contra = TypeVar("P_contra", bound=Personal, contravariant=True)


class DrainTarget(Protocol[P_contra]):
    """Where a stream goes. All may be called twice with the same."""

    def sessions_of(self, tenant: str, user_id: str) -> list[str]:
        """The sessions in which the user was named, of those that are kept."""

    def keep(self, rows: Sequence[P_contra], /) -> None:
        """Keep what was drained; an error leaves it on the stream."""

    def forget(self, tenant: str, user_id: str, until_ms: int) -> int:
        """Drop what was accepted of a user up to a moment; how many that were."""

    def forget_session(self, tenant: str, session_id: str, until_ms: int) -> int:
        """The same for what a session holds without a name: of what was accepted, and of what was shown."""


class EventStore(DrainTarget[StreamedEvent], Protocol):
    """Where drained events and merges go."""

    def merge(self, merge: Merge, /) -> None:
        """Give the guest's earlier events to the user; may be called twice with the same."""


class _InOrder:
    """An event store that is handed events and merges as they came: a merge takes what stands before it."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    def keep(self, rows: Sequence[StreamedEvent | Merge], /) -> None:
        """Runs of events together, each merge in its place."""
        waiting: list[StreamedEvent] = []
        for row in rows:
            if isinstance(row, StreamedEvent):
                waiting.append(row)
                continue
            if waiting:
                self._store.keep(waiting)
                waiting = []
            self._store.merge(row)
        if waiting:
            self._store.keep(waiting)

    def sessions_of(self, tenant: str, user_id: str) -> list[str]:
        return self._store.sessions_of(tenant, user_id)

    def forget(self, tenant: str, user_id: str, until_ms: int) -> int:
        return self._store.forget(tenant, user_id, until_ms)

    def forget_session(self, tenant: str, session_id: str, until_ms: int) -> int:
        return self._store.forget_session(tenant, session_id, until_ms)


@dataclass(frozen=True)
class _Stream(Generic[P]):
    """A stream's key and how its entries are read."""

    key: str
    read: Callable[[dict[bytes, bytes]], list[P]]


def drain(redis_url: str, store: EventStore, *, worker: str, batch: int = 1000) -> int:
    """Hand every event on the stream to `store`, batch by batch; returns how many events were handed over.

    An error of `store` ends the draining and leaves its batch on the stream. Events of users who have been erased since
    are dropped, and so are those of sessions in which they were named. `worker` names who drains; two at a time need
    two names.
    """
    return _drain(redis_url, _Stream(keys.event_stream(), _read_event), _InOrder(store), worker, batch)


def drain_exposures(redis_url: str, store: DrainTarget[Exposure], *, worker: str, batch: int = 20) -> int:
    """The same for what was shown; `batch` counts entries, which hold many exposures each."""
    return _drain(redis_url, _Stream(keys.exposure_stream(), read_exposures), store, worker, batch)


def _drain(redis_url: str, stream: _Stream[P], store: DrainTarget[P], worker: str, batch: int) -> int:
    handed = 0
    try:
        with open_client(redis_url, timeout_s=30) as client:
            _make_group(client, stream.key)
            while entries := _abandoned(client, stream.key, worker, batch) or _fresh(client, stream.key, worker, batch):
                rows = [row for name, raw in entries for row in _read(stream, name, raw)]
                handed += _hand_over(client, store, rows)
                names = [name for name, _ in entries]
                client.xack(stream.key, GROUP, *names)
                client.xdel(stream.key, *names)
            # Nothing is pending under this name any more; names of ended processes must not pile up.
            client.xgroup_delconsumer(stream.key, GROUP, worker)
    except (RedisError, OSError) as error:
        raise StoreError(
            f"the stream {stream.key} cannot be drained ({type(error).__name__}: {error}); check REDIS_URL."
        ) from error
    return handed


def _hand_over(client: Redis, store: DrainTarget[P], rows: list[P]) -> int:
    erased = find_erased(client, rows)
    # A merge is carried out even for the erased: what it moves to them is theirs, and goes with them.
    merges = [row for row in rows if isinstance(row, Merge)]
    moved = {owner_of(merge) for merge in merges}
    kept = [row for row in rows if isinstance(row, Merge) or not _is_gone(row, erased)]
    if kept:
        store.keep(kept)
    # An erasure that was asked for in between has perhaps looked at the table before these rows were in it.
    since = find_erased(client, kept)
    late = {one: until for one, until in since.items() if erased.get(one) != until or one in moved}
    # Nobody else knows of these sessions: the rows that name them were not the erased's, or not in the table.
    sessions = sessions_of_erased(rows, erased | since)
    for owner, until_ms in late.items():
        named = [owner.id] if owner.kind == "session" else store.sessions_of(owner.tenant, owner.id)
        for session in (Owner(one, owner.tenant, "session") for one in named):
            sessions[session] = max(until_ms, sessions.get(session, -1))
    for session, until_ms in sessions.items():
        record_erased_sessions(client, session.tenant, [session.id], until_ms)
        client.zremrangebyscore(session.key, "-inf", f"({until_ms + 1}")
        store.forget_session(session.tenant, session.id, until_ms)
    for owner, until_ms in late.items():
        if owner.kind == "user":
            store.forget(owner.tenant, owner.id, until_ms)
    return len(kept) - len(merges)


def _is_gone(row: Personal, erased: Mapping[Owner, int]) -> bool:
    owner = owner_of(row)
    return owner is not None and row.accepted_ms <= erased.get(owner, -1)


def waiting(redis_url: str) -> int:
    """Events on the stream now."""
    try:
        with open_client(redis_url, timeout_s=5) as client:
            return cast(int, client.xlen(keys.event_stream()))
    except (RedisError, OSError) as error:
        raise StoreError(f"the event stream cannot be read ({type(error).__name__}); check REDIS_URL.") from error


def _make_group(client: Redis, key: str) -> None:
    try:
        client.xgroup_create(key, GROUP, id="0", mkstream=True)
    except ResponseError as error:
        if "BUSYGROUP" not in str(error):
            raise


def _abandoned(client: Redis, key: str, worker: str, batch: int) -> list[Any]:
    answer = client.xautoclaim(key, GROUP, worker, _ABANDONED_MS, count=batch)
    return [entry for entry in cast(Any, answer)[1] if entry[1]]


def _fresh(client: Redis, key: str, worker: str, batch: int) -> list[Any]:
    # First what this worker took before and never finished, then what nobody has taken.
    for start in ("0", ">"):
        answer: Any = client.xreadgroup(GROUP, worker, {key: start}, count=batch)
        streams = list(answer.values()) if isinstance(answer, dict) else [entries for _, entries in answer]
        entries = [entry for stream in streams for entry in _flat(stream) if entry[1]]
        if entries:
            return entries
    return []


def _flat(stream: Any) -> list[Any]:
    # The third protocol's answer wraps a stream's entries in one more list.
    return stream[0] if stream and isinstance(stream[0], list) and not isinstance(stream[0][0], bytes) else stream


def _read(stream: _Stream[P], name: bytes, raw: dict[bytes, bytes]) -> list[P]:
    """An entry's rows. One that cannot be read stays on the stream: dropping it would be losing it."""
    try:
        return stream.read(raw)
    except (KeyError, TypeError, orjson.JSONDecodeError) as error:
        raise StoreError(
            f"entry {name.decode()} of the stream {stream.key} cannot be read ({type(error).__name__}: {error}); "
            "it was written by another version of serving: drain with that version."
        ) from None


def _read_event(raw: dict[bytes, bytes]) -> list[StreamedEvent | Merge]:
    if _MERGE.encode() in raw:
        return [Merge(**orjson.loads(raw[_MERGE.encode()]))]
    fields = orjson.loads(raw[_FIELD.encode()])
    return [StreamedEvent(**{**fields, "impressions": tuple(fields["impressions"])})]
