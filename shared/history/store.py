"""History store: the recent events of users, which serving reads for every request.

One contract and one test suite for two stores: `RedisHistory` for production, `MemoryHistory` for one process without a
server. Both are idempotent by `event_id`, keep events in the order of their own time whenever they arrive, and drop the
oldest beyond `max_events`.
"""

import math
import time
from base64 import urlsafe_b64encode
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal, NamedTuple, Protocol

from retort.shared.base.errors import StoreError
from retort.shared.history import keys

SEPARATOR = "\x1f"
EVENT_HASH_LENGTH = 8  # characters after the separator
# Newest events of a history among which an event's id is looked for; reading more would slow down each write.
RECOGNISED_EVENTS = 128
# Events of one user in the same millisecond keep the order in which they were given: each is set a little later
# than the one before. A double represents a present time in ms with this fraction exactly.
TIE_STEP_MS = 2.0**-11


class Owner(NamedTuple):
    """Owner of a history: a user, or a session without a user."""

    id: str
    tenant: str = keys.DEFAULT_TENANT
    kind: Literal["user", "session"] = "user"

    @property
    def key(self) -> str:
        return (keys.history if self.kind == "user" else keys.session)(self.tenant, self.id)


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """An interaction of an owner with an item; equal `event_id` means the same event."""

    owner: Owner
    item_id: str
    time_ms: int
    event_id: str


class Written(NamedTuple):
    """Result of a write to one history.

    Attributes:
        new: Events that were new.
        reused: Events that were not stored because their id belongs to an event of another item.
    """

    new: int
    reused: int = 0


class Entry(NamedTuple):
    """One event of a stored history."""

    item_id: str
    time_ms: int


Record = Callable[[], Awaitable[None]]
# Until when the events of an owner who was not erased are erased: a time before all events, also those before 1970.
NOT_ERASED = -math.inf
# Reads until when an owner's events are erased, in ms since 1970, or `NOT_ERASED`.
ErasedUntil = Callable[[], Awaitable[float]]


class HistoryStore(Protocol):
    """Protocol of a history store; failures of the store itself raise `StoreError`."""

    async def append(self, events: Sequence[HistoryEvent]) -> int:
        """Store the events in one round trip; return how many were new."""

    async def append_by_owner(self, events: Sequence[HistoryEvent]) -> dict[Owner, Written | StoreError]:
        """Store the events in one round trip; an owner whose history cannot be written has the error."""

    async def recent(self, owners: Sequence[Owner], limit: int) -> list[list[str]]:
        """Return the last `limit` item ids of each owner, oldest first, in one round trip; empty for unknown owners."""

    async def entries(self, owner: Owner) -> list[Entry]:
        """Return all stored events, oldest first."""

    async def forget(self, owner: Owner, until_ms: int | None = None) -> int:
        """Delete the history, or the events up to a time; return how many were deleted."""

    async def merge(
        self, source: Owner, target: Owner, record: Record | None = None, erased_until: ErasedUntil | None = None
    ) -> int:
        """Move the source's events into the target. Safe to repeat, and merges of one owner follow one another.

        An event whose id the target has already is left out, whichever item it names: the target's own event counts.

        Args:
            record: Called after the copy and before the source's events are deleted, while no other merge of either
                owner runs, so that merges are recorded in the order in which they happened.
            erased_until: Called while the merge excludes erasures of either owner. Events from before the target's
                erasure are deleted and not moved: they would come back with the guest.

        Returns:
            The number of events that were new to the target.
        """

    async def user_ids(self, tenant: str, limit: int, timeout_s: float) -> tuple[list[str], bool]:
        """Return at most `limit` users who have a history, in no order, and whether these are all of them."""

    async def ping(self) -> None:
        """Raise `StoreError` if the store is unavailable."""

    async def close(self) -> None:
        """Release connections."""


def member(item_id: str, event_id: str) -> str:
    """Return the stored form of an event; it ends with the hash of the event's id."""
    digest = blake2b(event_id.encode(), digest_size=EVENT_HASH_LENGTH * 6 // 8).digest()
    return f"{item_id}{SEPARATOR}{urlsafe_b64encode(digest).decode()}"


def event_hash(name: str) -> str:
    """Return the hash of the event's id, by which an owner's events are identified."""
    return name[-EVENT_HASH_LENGTH:]


def total_new(results: Mapping[Owner, Written | StoreError]) -> int:
    """Return the number of new events of all owners.

    Raises:
        StoreError: The history of an owner could not be written.
    """
    for result in results.values():
        if isinstance(result, StoreError):
            raise result
    return sum(result.new for result in results.values() if isinstance(result, Written))


def derived_event_id(item_id: str, time_ms: int) -> str:
    """Return the id of an event that came without one: the same item at the same time is the same event."""
    return f"{item_id}@{time_ms}"


def scored_members(events: Iterable[tuple[str, int, str]]) -> dict[str, float]:
    """Convert (item_id, time_ms, event_id) of one owner to member → score; equal times keep the given order."""
    scores: dict[str, float] = {}
    last_of_time: dict[int, float] = {}
    for item_id, time_ms, event_id in events:
        name = member(item_id, event_id)
        if name in scores:
            continue
        score = last_of_time[time_ms] + TIE_STEP_MS if time_ms in last_of_time else float(time_ms)
        scores[name] = last_of_time[time_ms] = score
    return scores


def group_by_owner(events: Sequence[HistoryEvent]) -> dict[Owner, dict[str, float]]:
    """Group events by owner, as member → score."""
    grouped: dict[Owner, list[tuple[str, int, str]]] = defaultdict(list)
    for event in events:
        grouped[event.owner].append((event.item_id, event.time_ms, event.event_id))
    return {owner: scored_members(own) for owner, own in grouped.items()}


class MemoryHistory:
    """History store in this process's memory; it ends with the process."""

    def __init__(
        self, max_events: int = 1000, ttl_s: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_events = max_events
        self._ttl_s = ttl_s
        self._clock = clock
        self._scores: dict[Owner, dict[str, float]] = {}
        self._expires_at: dict[Owner, float] = {}

    async def append(self, events: Sequence[HistoryEvent]) -> int:
        return total_new(await self.append_by_owner(events))

    async def append_by_owner(self, events: Sequence[HistoryEvent]) -> dict[Owner, Written | StoreError]:
        return {owner: self._append(owner, scores) for owner, scores in group_by_owner(events).items()}

    async def recent(self, owners: Sequence[Owner], limit: int) -> list[list[str]]:
        return [[name.rpartition(SEPARATOR)[0] for name, _ in self._alive(owner)[-limit:]] for owner in owners]

    async def entries(self, owner: Owner) -> list[Entry]:
        return [Entry(name.rpartition(SEPARATOR)[0], int(score // 1)) for name, score in self._alive(owner)]

    async def forget(self, owner: Owner, until_ms: int | None = None) -> int:
        held = self._alive(owner)
        if until_ms is not None:
            later = {name: score for name, score in held if score >= until_ms + 1}
            if later:
                self._scores[owner] = later
                return len(held) - len(later)
        self._scores.pop(owner, None)
        self._expires_at.pop(owner, None)
        return len(held)

    async def merge(
        self, source: Owner, target: Owner, record: Record | None = None, erased_until: ErasedUntil | None = None
    ) -> int:
        if source == target:
            return 0
        until_ms = NOT_ERASED if erased_until is None else await erased_until()
        moved = {name: score for name, score in self._alive(source) if score >= until_ms + 1}
        self._scores.pop(source, None)
        self._expires_at.pop(source, None)
        count = self._add(target, self._with_new_ids(target, moved)) if moved else 0
        if record is not None:
            await record()
        return count

    async def user_ids(self, tenant: str, limit: int, timeout_s: float) -> tuple[list[str], bool]:
        owners = [owner for owner in list(self._scores) if owner.kind == "user" and owner.tenant == tenant]
        alive = [owner.id for owner in owners[: limit + 1] if self._alive(owner)]
        return alive[:limit], len(alive) <= limit

    async def ping(self) -> None:
        return None

    async def close(self) -> None:
        return None

    def _append(self, owner: Owner, scores: dict[str, float]) -> Written:
        """Add the events whose ids the owner's newest events do not have."""
        held = {event_hash(name): name for name, _ in self._alive(owner)[-RECOGNISED_EVENTS:]}
        own = {name: score for name, score in scores.items() if held.setdefault(event_hash(name), name) == name}
        return Written(self._add(owner, own), len(scores) - len(own))

    def _with_new_ids(self, owner: Owner, scores: dict[str, float]) -> dict[str, float]:
        """Leave out the events whose id any event of the owner has."""
        held = {event_hash(name): name for name, _ in self._alive(owner)}
        return {name: score for name, score in scores.items() if held.setdefault(event_hash(name), name) == name}

    def _add(self, owner: Owner, scores: dict[str, float]) -> int:
        held = dict(self._alive(owner))
        new = {name: score for name, score in scores.items() if name not in held}
        kept = sorted((held | new).items(), key=lambda pair: (pair[1], pair[0]))[-self._max_events :]
        self._scores[owner] = dict(kept)
        if self._ttl_s is not None:
            self._expires_at[owner] = self._clock() + self._ttl_s
        return len(new)

    def _alive(self, owner: Owner) -> list[tuple[str, float]]:
        """The owner's members and scores, oldest first, unless they have expired."""
        if self._expires_at.get(owner, float("inf")) <= self._clock():
            self._scores.pop(owner, None)
            self._expires_at.pop(owner, None)
        return list(self._scores.get(owner, {}).items())
