"""Load of whole histories into Redis, such as those of the training data."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

import orjson

from retort.shared.history import keys
from retort.shared.history.history_writes import queue_members
from retort.shared.history.redis_clients import open_client
from retort.shared.history.redis_errors import as_store_error
from retort.shared.history.store import NOT_ERASED, SEPARATOR, derived_event_id, member, scored_members

T = TypeVar("T")


def load_histories(
    redis_url: str,
    histories: Iterable[tuple[str, Sequence[tuple[str, int]]]],
    *,
    tenant: str = keys.DEFAULT_TENANT,
    max_events: int = 1000,
    ttl_s: int | None = None,
    users_per_trip: int = 500,
    loaded: Callable[[int], None] | None = None,
) -> int:
    """Write whole histories; loading the same data twice changes nothing, and erased events do not come back.

    An event that came through the API with an id of its own is recognised by its item and time.

    Args:
        histories: (user_id, [(item_id, time_ms), ...]) with events in order; equal times keep it.
        users_per_trip: Users in one round trip.
        loaded: Called with the number of users of each round trip, for a progress bar.

    Returns:
        The number of users.
    """
    total = 0
    with as_store_error(), open_client(redis_url, timeout_s=30) as client:
        for chunk in _chunks(histories, users_per_trip):
            erased = _erased_until(client, tenant, [user_id for user_id, _ in chunk])
            held = _held_events(client, tenant, [user_id for user_id, _ in chunk])
            pipeline = client.pipeline(transaction=False)
            for (user_id, all_events), until_ms, known in zip(chunk, erased, held, strict=True):
                events = [event for event in all_events if event[1] > until_ms] if until_ms > NOT_ERASED else all_events
                events = [event for event in events if event not in known] if known else events
                if events:
                    last = events[-max_events:]
                    scores = scored_members((item, ms, derived_event_id(item, ms)) for item, ms in last)
                    queue_members(pipeline, keys.history(tenant, user_id), scores, max_events, ttl_s)
            pipeline.execute()
            total += len(chunk)
            if loaded is not None:
                loaded(len(chunk))
    return total


def _erased_until(client: Any, tenant: str, user_ids: Sequence[str]) -> list[float]:
    """The time of each user's erasure in ms, or `NOT_ERASED`."""
    pipeline = client.pipeline(transaction=False)
    for user_id in user_ids:
        pipeline.get(keys.erasure(tenant, user_id))
    return [NOT_ERASED if raw is None else int(orjson.loads(raw)["requested_ms"]) for raw in pipeline.execute()]


def _held_events(client: Any, tenant: str, user_ids: Sequence[str]) -> list[set[tuple[str, int]]]:
    """Item and time of each user's stored events that have an id of their own; a load gives them ids by both."""
    pipeline = client.pipeline(transaction=False)
    for user_id in user_ids:
        pipeline.zrange(keys.history(tenant, user_id), 0, -1, withscores=True)
    return [_with_ids_of_their_own(rows) for rows in pipeline.execute()]


def _with_ids_of_their_own(rows: Iterable[tuple[bytes, float]]) -> set[tuple[str, int]]:
    found = set()
    for raw, score in rows:
        name, time_ms = raw.decode(), int(score // 1)
        item_id = name.rpartition(SEPARATOR)[0]
        if name != member(item_id, derived_event_id(item_id, time_ms)):
            found.add((item_id, time_ms))
    return found


def _chunks(values: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(values)
    while chunk := list(islice(iterator, size)):
        yield chunk
