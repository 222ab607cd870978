"""Intake of events: validation, attribution to exposures, and storage in the history and on the stream."""

import logging
import math
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol
from uuid import uuid4

from retort.serving.recommend.user_context import HistoryReader
from retort.serving.runtime.metrics import Metrics
from retort.serving.schemas.problems import Problem
from retort.serving.schemas.requests import Event
from retort.serving.schemas.tokens import Impression, read_impression
from retort.shared.base.errors import StoreError
from retort.shared.events.events import EventWriter, Merge, StreamedEvent
from retort.shared.history import keys
from retort.shared.history.store import NOT_ERASED, HistoryEvent, Owner, Written, derived_event_id

logger = logging.getLogger(__name__)

_MAX_ATTRIBUTED = 50_000


@dataclass(frozen=True, slots=True)
class Accepted:
    """Result of an intake.

    Attributes:
        accepted: Number of accepted events.
        new: Number of them that were new to a history.
        reused: Number of them that were not stored because their id belongs to an event of another item.
        failed: Positions of events that were not stored, each with the reason.
    """

    accepted: int
    new: int
    reused: int = 0
    failed: Sequence[tuple[int, str]] = ()


class ErasedOwner(Protocol):
    """An erasure of a user, with the time of its request in ms since 1970."""

    @property
    def requested_ms(self) -> int: ...


class EventIntake:
    """Writer of events to the history and the stream; an event is reported as accepted only after it is stored.

    Args:
        weights: Accepted event types; types of weight 0 are not part of the history.
        count_event: Counts an event of a tenant's user or session.
        count_attributed_event: Counts an event that names the list that showed its item.
        stream: Stream to the database, which reads erasures too; None without Redis.
        read_erasure: Reads a user's erasure, for merges and when there is no stream.
    """

    def __init__(
        self,
        reader: HistoryReader,
        metrics: Metrics,
        weights: dict[str, float],
        count_event: Callable[[str, str | None, str | None, str], None],
        count_attributed_event: Callable[[str, Impression, str], None],
        stream: EventWriter | None = None,
        clock: Callable[[], float] = time.time,
        read_erasure: Callable[[Owner], Awaitable[ErasedOwner | None]] | None = None,
    ) -> None:
        self._read_erasure = read_erasure
        self._reader = reader
        self._metrics = metrics
        self._weights = weights
        self._count_event = count_event
        self._count_attributed_event = count_attributed_event
        self._attributed = AttributedEvents()
        self._stream = stream
        self._clock = clock

    async def accept(self, events: Sequence[Event], tenant: str) -> Accepted:
        """Store events.

        Raises:
            Problem: 422 for an unknown event type, 503 when no event could be stored.
        """
        self._check_types(events)
        now_ms = int(self._clock() * 1000)
        resolved = [(event, _time_ms(event, now_ms), _event_id(event)) for event in events]
        # Types of weight 0, such as impressions, are accepted but are not part of the history.
        entries = [
            HistoryEvent(_owner(event, tenant), event.item_id, time_ms, event_id)
            for event, time_ms, event_id in resolved
            if self._weights[event.event_type] > 0
        ]
        attributed = {_attribution_key(event, tenant): event for event in events if event.impression is not None}
        try:
            is_first = self._attributed.add(list(attributed))
            erased: Mapping[Owner, float | StoreError]
            if self._stream is None:
                erased = await self._find_erased(entries, now_ms)
            else:
                streamed = [self._streamed_event(*event, tenant, now_ms) for event in resolved]
                is_first, erased = await self._stream.add(streamed, once=list(attributed))
            # An event from before its owner's erasure does not come back, also when it is sent again.
            entries = [entry for entry in entries if entry.time_ms > _erased_until_ms(erased, entry.owner)]
            # Counted before the history is written: if that fails, the events are sent again and are no longer first.
            self._count_attributed(attributed.values(), is_first, tenant)
            written: dict[Owner, Written | StoreError] = await self._reader.store.append_by_owner(entries)
        except StoreError as error:
            raise self._not_stored(len(events), error) from error
        for owner in written:
            self._reader.cache.discard(owner)
        return self._result(events, tenant, erased, written)

    def _result(
        self,
        events: Sequence[Event],
        tenant: str,
        erased: Mapping[Owner, float | StoreError],
        written: Mapping[Owner, Written | StoreError],
    ) -> Accepted:
        """Return the result; the history of one owner that cannot be written concerns this owner's events alone."""
        errors = {owner: error for owner, error in [*erased.items(), *written.items()] if isinstance(error, StoreError)}
        owners = [_owner(event, tenant) for event in events] if errors else []
        failed = [(place, str(errors[owner])) for place, owner in enumerate(owners) if owner in errors]
        if failed:
            if len(failed) == len(events):
                raise self._not_stored(len(events), errors[owners[0]])
            self._report_failure(len(failed), failed[0][1])
        lost = {place for place, _ in failed}
        stored = [event for place, event in enumerate(events) if place not in lost] if lost else events
        self._count(stored, tenant)
        results = [result for result in written.values() if isinstance(result, Written)]
        return Accepted(
            len(stored), sum(result.new for result in results), sum(result.reused for result in results), failed
        )

    def _report_failure(self, count: int, reason: str) -> None:
        self._metrics.store_failures.labels("append").inc()
        logger.warning("events were not stored", extra={"count": count, "reason": reason})

    def _not_stored(self, count: int, error: StoreError) -> Problem:
        self._report_failure(count, str(error))
        return Problem(
            503,
            "The events could not be stored; send them again with the same event_id, so that they count once.",
            headers={"retry-after": "2"},
        )

    async def merge(self, guest: Owner, user: Owner) -> int:
        """Move a guest's history into the user's and report the merge to the next training.

        Returns:
            The number of events that were new to the user.
        """
        if guest == user:
            return 0

        async def record() -> None:
            if self._stream is not None:
                source = {"guest_user_id": guest.id} if guest.kind == "user" else {"guest_session_id": guest.id}
                await self._stream.add_merge(Merge(user.tenant, user.id, int(self._clock() * 1000), **source))

        moved = await self._reader.store.merge(guest, user, record, partial(self._erased_until, user))
        self._reader.cache.discard(guest)
        self._reader.cache.discard(user)
        return moved

    async def _find_erased(self, entries: Sequence[HistoryEvent], now_ms: int) -> dict[Owner, float]:
        """Return the erased owners among those of earlier events, with the time of the erasure in ms."""
        erased: dict[Owner, float] = {}
        for owner in {entry.owner for entry in entries if entry.time_ms < now_ms and entry.owner.kind == "user"}:
            if (until_ms := await self._erased_until(owner)) > NOT_ERASED:
                erased[owner] = until_ms
        return erased

    async def _erased_until(self, owner: Owner) -> float:
        """Return until when the owner's events are erased, in ms, or `NOT_ERASED`."""
        erasure = None if self._read_erasure is None else await self._read_erasure(owner)
        return NOT_ERASED if erasure is None else erasure.requested_ms

    def _count(self, events: Sequence[Event], tenant: str) -> None:
        for event_type, count in Counter(event.event_type for event in events).items():
            self._metrics.events.labels(event_type, "accepted").inc(count)
        for event in events:
            self._count_event(tenant, event.user_id, event.session_id, event.event_type)

    def _count_attributed(self, events: Iterable[Event], is_first: Sequence[bool], tenant: str) -> None:
        for event, first in zip(events, is_first, strict=True):
            if first and event.impression is not None:
                self._count_attributed_event(tenant, read_impression(event.impression), event.event_type)

    def _streamed_event(self, event: Event, time_ms: int, event_id: str, tenant: str, now_ms: int) -> StreamedEvent:
        return StreamedEvent(
            event_id=event_id,
            tenant=tenant,
            item_id=event.item_id,
            event_type=event.event_type,
            weight=self._weights[event.event_type],
            time_ms=time_ms,
            accepted_ms=now_ms,
            user_id=event.user_id,
            session_id=event.session_id,
            value=event.value,
            request_id=event.shown_by,
            impressions=tuple(event.impressions),
        )

    def _check_types(self, events: Sequence[Event]) -> None:
        for index, event in enumerate(events):
            if event.event_type not in self._weights:
                known = ", ".join(sorted(self._weights))
                raise Problem(
                    422,
                    f"{index}.event_type: this server accepts {known}; add other types to RETORT_EVENT_WEIGHTS.",
                )


class AttributedEvents:
    """Keys of the newest attributed events of this process; used without Redis, so that each counts once."""

    def __init__(self) -> None:
        self._keys: OrderedDict[str, None] = OrderedDict()

    def add(self, keys: Sequence[str]) -> list[bool]:
        """Add keys and return which of them were new."""
        is_first = [key not in self._keys for key in keys]
        self._keys.update(dict.fromkeys(keys))
        while len(self._keys) > _MAX_ATTRIBUTED:
            self._keys.popitem(last=False)
        return is_first


def _attribution_key(event: Event, tenant: str) -> str:
    return keys.counted(tenant, event.shown_by or "", event.item_id, event.event_type)


def _erased_until_ms(erased: Mapping[Owner, float | StoreError], owner: Owner) -> float:
    """Nothing is written while it is unknown whether the owner was erased."""
    until_ms = erased.get(owner, NOT_ERASED)
    return math.inf if isinstance(until_ms, StoreError) else until_ms


def _owner(event: Event, tenant: str) -> Owner:
    if event.user_id is not None:
        return Owner(event.user_id, tenant)
    return Owner(event.session_id or "", tenant, "session")


def _time_ms(event: Event, now_ms: int) -> int:
    """Return the event's time, limited to now, so that a fast clock of a sender does not order its events last."""
    return now_ms if event.timestamp is None else min(_ms(event.timestamp), now_ms)


def _event_id(event: Event) -> str:
    """Return the sender's id or one derived from the sent time, so that an event that is sent twice counts once."""
    if event.event_id is not None:
        return event.event_id
    return uuid4().hex if event.timestamp is None else derived_event_id(event.item_id, _ms(event.timestamp))


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
