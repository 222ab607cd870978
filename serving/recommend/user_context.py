"""User context: the stored histories of the caller, read in batches and cached for when the store is down."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from retort.serving.runtime.batching import Batcher
from retort.serving.runtime.circuit_breaker import CircuitBreaker
from retort.serving.runtime.metrics import Metrics
from retort.serving.runtime.running_time import running_time_timeout
from retort.serving.schemas.requests import RecommendRequest
from retort.serving.schemas.responses import Reason, Source
from retort.shared.base.errors import StoreError
from retort.shared.history import keys
from retort.shared.history.cluster_reads import Command, key_of
from retort.shared.history.redis_history import RedisHistory
from retort.shared.history.store import HistoryStore, Owner
from retort.shared.history.themes import Theme, read_themes

logger = logging.getLogger(__name__)

CACHED_EVENTS = 100
CACHED_OWNERS = 5_000
CACHED_FOR_S = 300.0
_LOG_INTERVAL_S = 60.0


@dataclass(frozen=True, slots=True)
class UserContext:
    """What is known about the caller of a request.

    Attributes:
        item_ids: The history for the student, oldest first.
        seen: All items that the caller has seen; they are hidden.
        source: Origin of the history.
        reason: Why the history is incomplete, if it is.
        themes: Themes of the user's profile, for explanations.
    """

    item_ids: Sequence[str]
    seen: Sequence[str]
    source: Source = Source.STUDENT
    reason: Reason | None = None
    themes: Sequence[Theme] = ()


class HistoryCache:
    """Histories that this process read last; the fallback for when the store is down, without network."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: OrderedDict[Owner, tuple[float, Sequence[str]]] = OrderedDict()

    def put(self, owner: Owner, item_ids: Sequence[str]) -> None:
        """Cache the newest events of an owner."""
        self._entries[owner] = (self._clock(), item_ids[-CACHED_EVENTS:])
        self._entries.move_to_end(owner)
        if len(self._entries) > CACHED_OWNERS:
            self._entries.popitem(last=False)

    def get(self, owner: Owner) -> Sequence[str] | None:
        """Return the cached history, or None when there is none or it is older than `CACHED_FOR_S`."""
        at_s, item_ids = self._entries.get(owner, (0.0, None))
        return item_ids if item_ids is not None and self._clock() - at_s <= CACHED_FOR_S else None

    def discard(self, owner: Owner) -> None:
        """Remove an owner's history."""
        self._entries.pop(owner, None)


class HistoryReader:
    """Batched reader of histories with a timeout, and with a circuit breaker for each node of the store.

    Args:
        limit: Newest events to read of each history.
        timeout_s: Timeout of one round trip to the store, in running time of this process.
        new_breaker: Creates the circuit breaker of a node.
    """

    def __init__(
        self,
        store: HistoryStore,
        metrics: Metrics,
        *,
        limit: int,
        timeout_s: float,
        new_breaker: Callable[[], CircuitBreaker],
        max_batch: int = 64,
    ) -> None:
        self.store = store
        self.cache = HistoryCache()
        self._limit = limit
        self._timeout_s = timeout_s
        self._metrics = metrics
        self._sizes = metrics.batch_sizes.labels("history")
        self._seconds = metrics.stage_seconds.labels("history")
        self._new_breaker = new_breaker
        self._max_batch = max_batch
        self._redis = store if isinstance(store, RedisHistory) else None
        self._nodes: dict[str, _Node] = {}
        self._logged_at_s: dict[str, float] = {}

    @property
    def is_degraded(self) -> bool:
        """True while the circuit breaker of a node is open."""
        return any(
            node.breaker.is_tripped and (self._redis is None or self._redis.is_node(name))
            for name, node in self._nodes.items()
        )

    async def read(self, owner: Owner) -> tuple[Sequence[str] | None, bool]:
        """Read a history.

        Returns:
            The item ids, oldest first, and whether they come from the store. When the store is down the ids come from
            the cache, or are None.
        """
        node = self._node(owner.key)
        if not node.breaker.try_acquire():
            self._metrics.breaker_refusals.inc()
            return self.cache.get(owner), False
        try:
            item_ids = await node.batcher.submit(owner)
        except StoreError:
            return self.cache.get(owner), False
        if isinstance(item_ids, StoreError):
            self._report_owner_error(item_ids)
            return self.cache.get(owner), False
        self._metrics.history_events.observe(len(item_ids))
        if item_ids:
            self.cache.put(owner, item_ids)
        else:  # another worker may have erased or merged it
            self.cache.discard(owner)
        return item_ids, True

    async def run_command(self, command: Command) -> Any:
        """Run a Redis command in the same round trip as the histories that are read at the same time.

        Raises:
            StoreError: Redis is down, or it refused the command.
        """
        node = self._node(key_of(command))
        if not node.breaker.try_acquire():
            self._metrics.breaker_refusals.inc()
            raise StoreError("the circuit breaker of Redis is open after failures; see retort_breaker_refusals_total.")
        reply = await node.batcher.submit(command)
        if isinstance(reply, Exception):
            raise StoreError(f"Redis refused a command ({reply}); see its log.") from reply
        return reply

    async def themes(self, owner: Owner) -> tuple[Theme, ...]:
        """Read the themes of the user's profile; empty without a profile or while Redis is down."""
        if not isinstance(self.store, RedisHistory):
            return ()
        try:
            return read_themes(await self.run_command(("GET", keys.themes(owner.tenant, owner.id))))
        except StoreError:
            return ()

    def _node(self, key: str) -> "_Node":
        """The node of a key: one that fails must not delay or refuse the users of another one."""
        name = "" if self._redis is None else self._redis.node_of(key)
        if (node := self._nodes.get(name)) is None:
            breaker = self._new_breaker()

            async def read(batch: list[Owner | Command]) -> list[Any]:
                return await self._read_batch(batch, breaker)

            # Two batches, so that one slow round trip does not delay the requests that arrive after it.
            batcher: Batcher[Owner | Command, Any] = Batcher(
                read, max_batch=self._max_batch, max_running=2, observe=self._sizes.observe
            )
            node = self._nodes[name] = _Node(breaker, batcher)
        return node

    async def _read_batch(self, batch: list[Owner | Command], breaker: CircuitBreaker) -> list[Any]:
        started = time.perf_counter()
        owners = [entry for entry in batch if isinstance(entry, Owner)]
        commands = [entry for entry in batch if not isinstance(entry, Owner)]
        try:
            async with running_time_timeout(self._timeout_s):
                histories, replies = await self._round_trip(owners, commands)
        except TimeoutError:
            error = StoreError(f"Redis did not answer within {self._timeout_s} s; see retort_store_failures_total.")
            self._record_failure(breaker, error)
            raise error from None
        except StoreError as error:
            self._record_failure(breaker, error)
            raise
        breaker.record_success()
        self._seconds.observe(time.perf_counter() - started)
        results: dict[bool, Iterator[Any]] = {True: iter(histories), False: iter(replies)}
        return [next(results[isinstance(entry, Owner)]) for entry in batch]

    async def _round_trip(
        self, owners: list[Owner], commands: list[Command]
    ) -> tuple[Sequence[Sequence[str] | StoreError], list[Any]]:
        if self._redis is not None:
            return await self._redis.recent_with_commands(owners, self._limit, commands)
        return await self.store.recent(owners, self._limit), [None] * len(commands)

    def _record_failure(self, breaker: CircuitBreaker, error: StoreError) -> None:
        breaker.record_failure()
        self._count_and_log("histories cannot be read", error)

    def _report_owner_error(self, error: StoreError) -> None:
        """Count an error of one history, which says nothing about the store."""
        self._count_and_log("a history cannot be read", error)

    def _count_and_log(self, message: str, error: StoreError) -> None:
        """Count a failure; log it at most once a minute."""
        self._metrics.store_failures.labels("recent").inc()
        now_s = time.monotonic()
        if now_s - self._logged_at_s.get(message, -_LOG_INTERVAL_S) >= _LOG_INTERVAL_S:
            self._logged_at_s[message] = now_s
            logger.warning(message, extra={"reason": str(error)})


@dataclass(frozen=True, slots=True)
class _Node:
    """Circuit breaker and batches of one node."""

    breaker: CircuitBreaker
    batcher: Batcher[Owner | Command, Any]


async def read_user_context(reader: HistoryReader, request: RecommendRequest, tenant: str) -> UserContext:
    """Read the best available history of the caller and, for explanations, the themes of the user's profile."""
    if not request.explain or request.user_id is None:
        return await _read_history(reader, request, tenant)
    context, themes = await asyncio.gather(
        _read_history(reader, request, tenant), reader.themes(Owner(request.user_id, tenant))
    )
    return replace(context, themes=themes)


def cached_user_context(reader: HistoryReader, request: RecommendRequest, tenant: str) -> UserContext:
    """Return the context without a read of the store, for requests whose deadline has passed."""
    if request.history is not None:
        return UserContext(request.history, request.history)
    user = reader.cache.get(Owner(request.user_id, tenant)) if request.user_id is not None else None
    session = reader.cache.get(Owner(request.session_id, tenant, "session")) if request.session_id else None
    return UserContext(user or session or (), [*(user or ()), *(session or ())])


async def _read_history(reader: HistoryReader, request: RecommendRequest, tenant: str) -> UserContext:
    """Prefer the request's own history, then the user's, then the session's."""
    if request.history is not None:
        reason = None if request.history else Reason.EMPTY_HISTORY
        return UserContext(request.history, request.history, reason=reason)
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
        # Items seen in the session are hidden too, although the student reads the user's history only.
        context = _of_user(history, fresh and clicks_fresh)
        return UserContext(context.item_ids, [*history, *(clicks or ())], context.source, context.reason)
    return _of_session(clicks, fresh and clicks_fresh, history or ())


def _of_user(history: Sequence[str] | None, fresh: bool) -> UserContext:
    if fresh:
        return UserContext(history or (), history or (), reason=None if history else Reason.UNKNOWN_USER)
    return UserContext(history or (), history or (), Source.PARTIAL_HISTORY, Reason.HISTORY_UNAVAILABLE)


def _of_session(clicks: Sequence[str] | None, fresh: bool, seen: Sequence[str]) -> UserContext:
    all_seen = [*seen, *(clicks or ())]
    if not fresh:
        return UserContext(clicks or (), all_seen, Source.PARTIAL_HISTORY, Reason.HISTORY_UNAVAILABLE)
    return UserContext(clicks or (), all_seen, Source.SESSION, Reason.UNKNOWN_USER)
