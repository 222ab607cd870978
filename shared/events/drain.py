"""Drain of the event stream: a job stores the events and exposures of a Redis Stream in the database.

The job reads batches, stores them and only then deletes them from the stream. So nothing is lost while the database is
unavailable, and an event that is stored twice (the job was killed in between) has its `event_id`, by which the database
keeps it once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, cast

import orjson
from redis import Redis
from redis.exceptions import RedisError, ResponseError

from retort.shared.base.errors import StoreError
from retort.shared.events.erasures import Personal, find_erased, owner_of, record_erased_sessions, sessions_of_erased
from retort.shared.events.events import FIELD, MERGE_FIELD, Merge, StreamedEvent, remedy
from retort.shared.events.exposures import Exposure, read_exposures
from retort.shared.history import keys
from retort.shared.history.redis_clients import open_client
from retort.shared.history.store import NOT_ERASED, Owner

GROUP = "database"
# A batch that another worker has not finished after this time is taken over.
_ABANDONED_MS = 60_000


P = TypeVar("P", bound=Personal)
P_contra = TypeVar("P_contra", bound=Personal, contravariant=True)


class DrainTarget(Protocol[P_contra]):
    """Protocol of the store that a stream is drained into; every call may be repeated."""

    def sessions_of(self, tenant: str, user_id: str) -> list[str]:
        """Return the stored sessions in which the user was identified."""

    def keep(self, rows: Sequence[P_contra], /) -> None:
        """Store drained rows; after an error they stay on the stream."""

    def forget(self, tenant: str, user_id: str, until_ms: int) -> int:
        """Delete what was accepted of a user up to a time; return the number of rows."""

    def forget_session(self, tenant: str, session_id: str, until_ms: int) -> int:
        """Delete the events and exposures of a session without a user up to a time; return the number of rows."""


class EventStore(DrainTarget[StreamedEvent], Protocol):
    """Protocol of the store of drained events and merges."""

    def merge(self, merge: Merge, /) -> None:
        """Assign the guest's earlier events to the user; may be repeated."""


class _OrderedStore:
    """Event store that processes events and merges in order: a merge applies to what comes before it."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    def keep(self, rows: Sequence[StreamedEvent | Merge], /) -> None:
        """Store consecutive events together, and each merge in its place."""
        pending: list[StreamedEvent] = []
        for row in rows:
            if isinstance(row, StreamedEvent):
                pending.append(row)
                continue
            if pending:
                self._store.keep(pending)
                pending = []
            self._store.merge(row)
        if pending:
            self._store.keep(pending)

    def sessions_of(self, tenant: str, user_id: str) -> list[str]:
        return self._store.sessions_of(tenant, user_id)

    def forget(self, tenant: str, user_id: str, until_ms: int) -> int:
        return self._store.forget(tenant, user_id, until_ms)

    def forget_session(self, tenant: str, session_id: str, until_ms: int) -> int:
        return self._store.forget_session(tenant, session_id, until_ms)


@dataclass(frozen=True)
class _Stream(Generic[P]):
    """A stream's key and the parser of its entries."""

    key: str
    read: Callable[[dict[bytes, bytes]], list[P]]


def drain(redis_url: str, store: EventStore, *, worker: str, batch: int = 1000) -> int:
    """Store every event on the stream, batch by batch.

    Events of users who have been erased since, and of sessions in which they were identified, are dropped. An error of
    `store` ends the drain and leaves its batch on the stream.

    Args:
        worker: Name of this worker; concurrent workers need different names.

    Returns:
        The number of stored events.
    """
    return _drain(redis_url, _Stream(keys.event_stream(), _read_event), _OrderedStore(store), worker, batch)


def drain_exposures(redis_url: str, store: DrainTarget[Exposure], *, worker: str, batch: int = 20) -> int:
    """Drain the exposures likewise; `batch` counts stream entries, which contain many exposures each."""
    return _drain(redis_url, _Stream(keys.exposure_stream(), read_exposures), store, worker, batch)


def _drain(redis_url: str, stream: _Stream[P], store: DrainTarget[P], worker: str, batch: int) -> int:
    handed = 0
    try:
        with open_client(redis_url, timeout_s=30) as client:
            _make_group(client, stream.key)
            while entries := _abandoned(client, stream.key, worker, batch) or _fresh(client, stream.key, worker, batch):
                rows = [row for name, raw in entries for row in _read(stream, name, raw)]
                handed += _store_rows(client, store, rows)
                names = [name for name, _ in entries]
                client.xack(stream.key, GROUP, *names)
                client.xdel(stream.key, *names)
            # Nothing is pending for this worker; names of ended processes must not accumulate.
            client.xgroup_delconsumer(stream.key, GROUP, worker)
    except (RedisError, OSError) as error:
        raise StoreError(
            f"the stream {stream.key} cannot be drained ({type(error).__name__}: {error}); {remedy(error, stream.key)}."
        ) from error
    return handed


def _store_rows(client: Redis, store: DrainTarget[P], rows: list[P]) -> int:
    erased = find_erased(client, rows)
    # A merge is applied even for an erased user: the guest's events are the user's, and are deleted with them.
    merges = [row for row in rows if isinstance(row, Merge)]
    moved = {owner_of(merge) for merge in merges}
    kept = [row for row in rows if isinstance(row, Merge) or not _is_gone(row, erased)]
    if kept:
        store.keep(kept)
    # An erasure requested in between may have read the table before these rows were stored.
    since = find_erased(client, kept)
    late = {owner_id: until for owner_id, until in since.items() if erased.get(owner_id) != until or owner_id in moved}
    # Only these rows name the sessions, so the erasure itself could not find them.
    sessions = sessions_of_erased(rows, erased | since)
    for owner, until_ms in late.items():
        named = [owner.id] if owner.kind == "session" else store.sessions_of(owner.tenant, owner.id)
        for session in (Owner(owner_id, owner.tenant, "session") for owner_id in named):
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
    # An event that happened before the erasure is gone, also when it is sent again afterwards.
    at_ms = min(row.accepted_ms, row.time_ms) if isinstance(row, StreamedEvent) else row.accepted_ms
    return owner is not None and at_ms <= erased.get(owner, NOT_ERASED)


def waiting(redis_url: str) -> int:
    """Return the number of events on the stream."""
    try:
        with open_client(redis_url, timeout_s=5) as client:
            return cast(int, client.xlen(keys.event_stream()))
    except (RedisError, OSError) as error:
        raise StoreError(
            f"the event stream cannot be read ({type(error).__name__}); check REDIS_URL and that Redis runs."
        ) from error


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
    # First entries that this worker took and did not finish, then new ones.
    for start in ("0", ">"):
        answer: Any = client.xreadgroup(GROUP, worker, {key: start}, count=batch)
        streams = list(answer.values()) if isinstance(answer, dict) else [entries for _, entries in answer]
        entries = [entry for stream in streams for entry in _flat(stream) if entry[1]]
        if entries:
            return entries
    return []


def _flat(stream: Any) -> list[Any]:
    # RESP3 wraps a stream's entries in one more list.
    return stream[0] if stream and isinstance(stream[0], list) and not isinstance(stream[0][0], bytes) else stream


def _read(stream: _Stream[P], name: bytes, raw: dict[bytes, bytes]) -> list[P]:
    """Rows of an entry; one that cannot be read stays on the stream, because dropping it would lose it."""
    try:
        return stream.read(raw)
    except (KeyError, TypeError, orjson.JSONDecodeError) as error:
        raise StoreError(
            f"entry {name.decode()} of the stream {stream.key} cannot be read ({type(error).__name__}: {error}); "
            "it was written by another version of serving: drain with that version."
        ) from None


def _read_event(raw: dict[bytes, bytes]) -> list[StreamedEvent | Merge]:
    if MERGE_FIELD.encode() in raw:
        return [Merge(**orjson.loads(raw[MERGE_FIELD.encode()]))]
    fields = orjson.loads(raw[FIELD.encode()])
    return [StreamedEvent(**{**fields, "impressions": tuple(fields["impressions"])})]
