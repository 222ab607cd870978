"""What is known about a caller: stored histories, read many at a time, with a memory for when the store is away."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from retort.serving.runtime.batching import Batcher
from retort.serving.runtime.circuit_breaker import Breaker
from retort.serving.runtime.metrics import Metrics
from retort.serving.schemas.requests import RecommendRequest
from retort.serving.schemas.responses import Reason, Source
from retort.shared.base.errors import StoreError
from retort.shared.history import keys
from retort.shared.history.redis_history import Command, RedisHistory
from retort.shared.history.store import HistoryStore, Owner
from retort.shared.history.themes import Theme, read_themes

REMEMBERED_EVENTS = 100
REMEMBERED_OWNERS = 5_000
REMEMBERED_FOR_S = 300.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """Item ids, oldest first, what they came from, and why they are not all that could be known."""

    item_ids: Sequence[str]
    seen: Sequence[str]
    source: Source = Source.STUDENT
    reason: Reason | None = None
    themes: Sequence[Theme] = ()


class Memory:
    """The last histories that this process has read: the fallback itself needs no network."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[Owner, tuple[float, list[str]]] = OrderedDict()

    def keep(self, owner: Owner, item_ids: list[str]) -> None:
        self._kept[owner] = (self._clock(), item_ids[-REMEMBERED_EVENTS:])
        self._kept.move_to_end(owner)
        if len(self._kept) > REMEMBERED_OWNERS:
            self._kept.popitem(last=False)

    def recall(self, owner: Owner) -> list[str] | None:
        at_s, item_ids = self._kept.get(owner, (0.0, None))
        return item_ids if item_ids is not None and self._clock() - at_s <= REMEMBERED_FOR_S else None

    def drop(self, owner: Owner) -> None:
        self._kept.pop(owner, None)


class HistoryReader:
    """Reads histories in batches, within a time limit, behind a breaker."""

    def __init__(
        self,
        store: HistoryStore,
        metrics: Metrics,
        *,
        limit: int,
        timeout_s: float,
        breaker: Breaker,
        max_batch: int = 64,
    ) -> None:
        self.store = store
        self.breaker = breaker
        self.memory = Memory()
        self._limit = limit
        self._timeout_s = timeout_s
        self._metrics = metrics
        self._sizes = metrics.batch_sizes.labels("history")
        self._seconds = metrics.stage_seconds.labels("history")
        # Two, so that one slow answer does not hold up those who come after it.
        self._batcher: Batcher[Owner | Command, Any] = Batcher(
            self._read, max_batch=max_batch, max_running=2, observe=self._sizes.observe
        )

    async def read(self, owner: Owner) -> tuple[list[str] | None, bool]:
        """(history, fresh): what the store says, else what is remembered, else None."""
        if self.breaker.is_open:
            self._metrics.breaker_open.inc()
            return self.memory.recall(owner), False
        try:
            item_ids: list[str] = await self._batcher.ask(owner)
        except StoreError:
            return self.memory.recall(owner), False
        self._metrics.history_events.observe(len(item_ids))
        if item_ids:
            self.memory.keep(owner, item_ids)
        else:  # perhaps another worker has erased or merged it
            self.memory.drop(owner)
        return item_ids, True

    async def ask(self, command: Command) -> Any:
        """A command's answer, in the same round trip as the histories that are read now; `StoreError` without one."""
        if self.breaker.is_open:
            self._metrics.breaker_open.inc()
            raise StoreError("Redis is left alone for a moment after failures; see retort_breaker_refusals_total.")
        answer = await self._batcher.ask(command)
        if isinstance(answer, Exception):
            raise StoreError(f"Redis refused a command ({answer}); see its log.") from answer
        return answer

    async def themes(self, owner: Owner) -> tuple[Theme, ...]:
        """What the user's profile is about; nothing where nobody wrote it or Redis is away: it only explains."""
        if not isinstance(self.store, RedisHistory):
            return ()
        try:
            return read_themes(await self.ask(("GET", keys.themes(owner.tenant, owner.id))))
        except StoreError:
            return ()

    async def _read(self, asked: list[Owner | Command]) -> list[Any]:
        started = time.perf_counter()
        owners = [one for one in asked if isinstance(one, Owner)]
        commands = [one for one in asked if not isinstance(one, Owner)]
        try:
            async with asyncio.timeout(self._timeout_s):
                rows, answers = await self._trip(owners, commands)
        except TimeoutError:
            self._failed()
            raise StoreError(
                f"Redis did not answer within {self._timeout_s} s; see retort_store_failures_total."
            ) from None
        except StoreError:
            self._failed()
            raise
        self.breaker.succeeded()
        self._seconds.observe(time.perf_counter() - started)
        in_turn = {True: iter(rows), False: iter(answers)}
        return [next(in_turn[isinstance(one, Owner)]) for one in asked]

    async def _trip(self, owners: list[Owner], commands: list[Command]) -> tuple[list[list[str]], list[Any]]:
        if commands and isinstance(self.store, RedisHistory):
            return await self.store.recent_with_commands(owners, self._limit, commands)
        return await self.store.recent(owners, self._limit), [None] * len(commands)

    def _failed(self) -> None:
        self.breaker.failed()
        self._metrics.store_failures.labels("recent").inc()


async def gather(reader: HistoryReader, request: RecommendRequest, tenant: str) -> Evidence:
    """What is known for this request: the best history there is and, to explain with, the user's themes."""
    if not request.explain or request.user_id is None:
        return await _gather_history(reader, request, tenant)
    evidence, themes = await asyncio.gather(
        _gather_history(reader, request, tenant), reader.themes(Owner(request.user_id, tenant))
    )
    return replace(evidence, themes=themes)


def remembered(reader: HistoryReader, request: RecommendRequest, tenant: str) -> Evidence:
    """What is known without the store, for when there was no time to ask it."""
    if request.history is not None:
        return Evidence(request.history, request.history)
    user = reader.memory.recall(Owner(request.user_id, tenant)) if request.user_id is not None else None
    session = reader.memory.recall(Owner(request.session_id, tenant, "session")) if request.session_id else None
    return Evidence(user or session or (), [*(user or ()), *(session or ())])


async def _gather_history(reader: HistoryReader, request: RecommendRequest, tenant: str) -> Evidence:
    """Its own, the user's, the session's."""
    if request.history is not None:
        reason = None if request.history else Reason.EMPTY_HISTORY
        return Evidence(request.history, request.history, reason=reason)
    user = None if request.user_id is None else Owner(request.user_id, tenant)
    session = None if request.session_id is None else Owner(request.session_id, tenant, "session")
    if session is None and user is not None:
        history, fresh = await reader.read(user)
        return _of_user(history, fresh)
    if user is None and session is not None:
        history, fresh = await reader.read(session)
        return _of_session(history, fresh, ())
    assert user is not None
    assert session is not None
    (history, fresh), (clicks, clicks_fresh) = await asyncio.gather(reader.read(user), reader.read(session))
    if history:
        # What was seen in the session stays hidden, though the student reads the user's own history.
        evidence = _of_user(history, fresh and clicks_fresh)
        return Evidence(evidence.item_ids, [*history, *(clicks or ())], evidence.source, evidence.reason)
    return _of_session(clicks, fresh and clicks_fresh, history or ())


def _of_user(history: list[str] | None, fresh: bool) -> Evidence:
    if fresh:
        return Evidence(history or (), history or (), reason=None if history else Reason.UNKNOWN_USER)
    return Evidence(history or (), history or (), Source.PARTIAL_HISTORY, Reason.HISTORY_UNAVAILABLE)


def _of_session(clicks: list[str] | None, fresh: bool, seen: Sequence[str]) -> Evidence:
    everything = [*seen, *(clicks or ())]
    if not fresh:
        return Evidence(clicks or (), everything, Source.PARTIAL_HISTORY, Reason.HISTORY_UNAVAILABLE)
    return Evidence(clicks or (), everything, Source.SESSION, Reason.UNKNOWN_USER)
