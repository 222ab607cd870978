"""Events on their way to the next training: a Redis Stream between serving, which writes, and a job, which drains.

Serving adds every accepted event before it says so. The job reads in batches, hands them to the database and only then
takes them off the stream: nothing is lost while the database is away, and an event that is handed over twice (the job
died in between) carries its `event_id`, so that the database keeps it once.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Generic, Protocol, TypeVar, cast

import orjson
from redis import Redis
from redis.exceptions import RedisError, ResponseError

from shared import keys
from shared.errors import StoreError
from shared.exposures import Exposure, read_exposures

GROUP = "database"
_FIELD = "event"
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
                pipeline.xadd(keys.event_stream(), {_FIELD: orjson.dumps(asdict(event))})
            answers = await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreError(f"events could not be put on the stream ({type(error).__name__}); is Redis up?") from error
        return [answer is not None for answer in answers[: len(once)]]


class Personal(Protocol):
    """Anything on a stream that ends with its user's erasure."""

    @property
    def tenant(self) -> str: ...

    @property
    def user_id(self) -> str | None: ...

    @property
    def accepted_ms(self) -> int: ...


P = TypeVar("P", bound=Personal)
P_contra = TypeVar("P_contra", bound=Personal, contravariant=True)


class Drained(Protocol[P_contra]):
    """Where a stream goes. Both may be called twice with the same."""

    def keep(self, rows: Sequence[P_contra], /) -> None:
        """Keep what was drained; an error leaves it on the stream."""

    def forget(self, tenant: str, user_id: str, until_ms: int) -> int:
        """Drop what was accepted of a user up to a moment; how many that were."""


@dataclass(frozen=True)
class _Stream(Generic[P]):
    """A stream's key and how its entries are read."""

    key: str
    read: Callable[[dict[bytes, bytes]], list[P]]


def drain(redis_url: str, store: Drained[StreamedEvent], *, worker: str, batch: int = 1000) -> int:
    """Hand every event on the stream to `store`, batch by batch; returns how many events were handed over.

    An error of `store` ends the draining and leaves its batch on the stream. Events of users who have been erased since
    are dropped. `worker` names who drains; two at a time need two names.
    """
    return _drain(redis_url, _Stream(keys.event_stream(), _read_event), store, worker, batch)


def drain_exposures(redis_url: str, store: Drained[Exposure], *, worker: str, batch: int = 20) -> int:
    """The same for what was shown; `batch` counts entries, which hold many exposures each."""
    return _drain(redis_url, _Stream(keys.exposure_stream(), read_exposures), store, worker, batch)


def _drain(redis_url: str, stream: _Stream[P], store: Drained[P], worker: str, batch: int) -> int:
    handed = 0
    try:
        with Redis.from_url(redis_url, socket_timeout=30) as client:
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


def _hand_over(client: Redis, store: Drained[P], rows: list[P]) -> int:
    erased = _erased(client, rows)
    kept = [row for row in rows if row.accepted_ms > erased.get((row.tenant, row.user_id), -1)]
    if kept:
        store.keep(kept)
    # An erasure that was asked for in between has perhaps looked at the table before these rows were in it.
    for (tenant, user_id), requested_ms in _erased(client, kept).items():
        if erased.get((tenant, user_id)) != requested_ms and user_id is not None:
            store.forget(tenant, user_id, requested_ms)
    return len(kept)


def waiting(redis_url: str) -> int:
    """Events on the stream now."""
    try:
        with Redis.from_url(redis_url, socket_timeout=5) as client:
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


def _read_event(raw: dict[bytes, bytes]) -> list[StreamedEvent]:
    fields = orjson.loads(raw[_FIELD.encode()])
    return [StreamedEvent(**{**fields, "impressions": tuple(fields["impressions"])})]


def _erased(client: Redis, rows: Sequence[Personal]) -> dict[tuple[str, str | None], int]:
    """(tenant, user_id) → when their erasure was asked for, in ms; only users with one."""
    users = sorted({(row.tenant, row.user_id) for row in rows if row.user_id is not None})
    if not users:
        return {}
    notes = cast(list[bytes | None], client.mget([keys.erasure(tenant, user) for tenant, user in users]))
    return {user: orjson.loads(note)["requested_ms"] for user, note in zip(users, notes, strict=True) if note}
