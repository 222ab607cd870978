"""Events on their way in: into the history at once."""

import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from retort.serving.recommend.user_context import HistoryReader
from retort.serving.runtime.metrics import Metrics
from retort.serving.schemas.impression_tokens import Impression, read_impression
from retort.serving.schemas.problems import Problem
from retort.serving.schemas.requests import Event
from retort.shared.base.errors import StoreError
from retort.shared.events.event_stream import EventWriter, Merge, StreamedEvent
from retort.shared.history import keys
from retort.shared.history.store import HistoryEvent, Owner, derived_event_id

logger = logging.getLogger(__name__)

_COUNTED_HERE = 50_000


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of the events: all of them, those that were new to a history."""

    accepted: int
    new: int


class EventIntake:
    """Turns events into history entries; an event that says it was accepted is stored."""

    def __init__(
        self,
        reader: HistoryReader,
        metrics: Metrics,
        weights: dict[str, float],
        count_event: Callable[[str, str | None, str | None, str], None],
        count_return: Callable[[str, Impression, str], None],
        stream: EventWriter | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._reader = reader
        self._metrics = metrics
        self._weights = weights
        self._count_event = count_event
        self._count_return = count_return
        self._counted = Counted()
        self._stream = stream
        self._clock = clock

    async def accept(self, events: Sequence[Event], tenant: str) -> Accepted:
        """Store the events; 422 for an unknown type, 503 where the store does not answer."""
        self._refuse_strange_types(events)
        now_ms = int(self._clock() * 1000)
        named = [(event, _time_ms(event, now_ms), _event_id(event)) for event in events]
        # Types that weigh nothing (impressions) are accepted and are no history.
        entries = [
            HistoryEvent(_owner(event, tenant), event.item_id, time_ms, event_id)
            for event, time_ms, event_id in named
            if self._weights[event.event_type] > 0
        ]
        shown = {_counted_key(event, tenant): event for event in events if event.impression is not None}
        try:
            firsts = self._counted.first_times(list(shown))
            if self._stream is not None:
                streamed = [self._streamed(*one, tenant, now_ms) for one in named]
                firsts = await self._stream.add(streamed, once=list(shown))
            # before the history is asked: where that fails the event is sent again, and is then no first
            self._count_returns(shown.values(), firsts, tenant)
            new = await self._reader.store.append(entries)
        except StoreError as error:
            self._metrics.store_failures.labels("append").inc()
            logger.warning("events were not stored", extra={"count": len(events), "reason": str(error)})
            raise Problem(
                503,
                "The events could not be stored; send them again, with their event_id they count once.",
                headers={"retry-after": "2"},
            ) from error
        for owner in {entry.owner for entry in entries}:
            self._reader.memory.drop(owner)
        self._count(events, tenant)
        return Accepted(len(events), new)

    async def merge(self, guest: Owner, user: Owner) -> int:
        """Move a guest's history into the user's, and tell the next training; how many events were new there."""
        if guest == user:
            return 0
        moved = await self._reader.store.merge(guest, user)
        if self._stream is not None:
            named = {"guest_user_id": guest.id} if guest.kind == "user" else {"guest_session_id": guest.id}
            await self._stream.add_merge(Merge(user.tenant, user.id, int(self._clock() * 1000), **named))
        self._reader.memory.drop(guest)
        self._reader.memory.drop(user)
        return moved

    def _count(self, events: Sequence[Event], tenant: str) -> None:
        for event_type, count in Counter(event.event_type for event in events).items():
            self._metrics.events.labels(event_type, "accepted").inc(count)
        for event in events:
            self._count_event(tenant, event.user_id, event.session_id, event.event_type)

    def _count_returns(self, shown: Iterable[Event], firsts: Sequence[bool], tenant: str) -> None:
        for event, first in zip(shown, firsts, strict=True):
            if first and event.impression is not None:
                self._count_return(tenant, read_impression(event.impression), event.event_type)

    def _streamed(self, event: Event, time_ms: int, event_id: str, tenant: str, now_ms: int) -> StreamedEvent:
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

    def _refuse_strange_types(self, events: Sequence[Event]) -> None:
        for place, event in enumerate(events):
            if event.event_type not in self._weights:
                known = ", ".join(sorted(self._weights))
                raise Problem(
                    422, f"{place}.event_type: this server knows {known}; set RETORT_EVENT_WEIGHTS for others."
                )


class Counted:
    """Which shown items have been counted already, where there is no Redis to ask: the newest of this process."""

    def __init__(self) -> None:
        self._keys: OrderedDict[str, None] = OrderedDict()

    def first_times(self, keys: Sequence[str]) -> list[bool]:
        """Which of the keys were not there before."""
        firsts = [key not in self._keys for key in keys]
        self._keys.update(dict.fromkeys(keys))
        while len(self._keys) > _COUNTED_HERE:
            self._keys.popitem(last=False)
        return firsts


def _counted_key(event: Event, tenant: str) -> str:
    return keys.counted(tenant, event.shown_by or "", event.item_id, event.event_type)


def _owner(event: Event, tenant: str) -> Owner:
    if event.user_id is not None:
        return Owner(event.user_id, tenant)
    return Owner(event.session_id or "", tenant, "session")


def _time_ms(event: Event, now_ms: int) -> int:
    """The event's own time; a clock that runs ahead must not put its events in front of all that are to come."""
    return now_ms if event.timestamp is None else min(_ms(event.timestamp), now_ms)


def _event_id(event: Event) -> str:
    """The sender's, else one of the time that was sent: what a clock ahead of ours sends again is the same event."""
    if event.event_id is not None:
        return event.event_id
    return uuid4().hex if event.timestamp is None else derived_event_id(event.item_id, _ms(event.timestamp))


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
