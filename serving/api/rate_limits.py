"""Rate limits of API keys, a second and a day, over all workers; Redis checks them in the request's own round trip.

While Redis is down, and without Redis, each worker limits on its own: a key may then exceed its rate by a factor of the
number of workers. `retort_limits_local_counter_total` counts these requests.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import Counter

from retort.serving.schemas.problems import Problem
from retort.shared.base.errors import StoreError
from retort.shared.history import keys
from retort.shared.history.cluster_reads import Command

logger = logging.getLogger(__name__)

_DAY_S = 86_400
_RATE, _QUOTA = 1, 2
# The rate is GCRA (ATM Forum, 1994) with a burst of one second: the key holds the time, in ms, at which the bucket is
# full again. Redis' clock is used, so that workers on several machines agree; if it goes back, the bucket is full.
# Returns {0, 0} after future `cost`, or, with nothing taken, {exceeded limit, ms until it suffices}; a cost above the
# size of the bucket waits for the full bucket.
_SCRIPT = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local rate, per_day, cost, full = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), now
if rate > 0 then
  local step = 1000 / rate
  local burst = math.max(1, rate) * step
  full = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0'))
  if full - now > burst + 1 then full = now end
  local before = full
  full = full + cost * step
  if full - burst > now then return {1, math.max(1, math.ceil(math.min(full - burst, before) - now))} end
end
if per_day > 0 then
  local day = math.floor(now / 86400000)
  local held = redis.call('HMGET', KEYS[2], 'day', 'used')
  local used = 0
  if tonumber(held[1] or '-1') == day then used = tonumber(held[2]) end
  if used + cost > per_day then return {2, (day + 1) * 86400000 - now} end
  redis.call('HSET', KEYS[2], 'day', day, 'used', used + cost)
  redis.call('EXPIRE', KEYS[2], 172800)
end
if rate > 0 then redis.call('SET', KEYS[1], string.format('%.3f', full), 'PX', math.ceil(full - now) + 1000) end
return {0, 0}
"""


class TokenBucket:
    """Token bucket with a rate a second and a burst of one second."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_second
        self._clock = clock
        self._size = max(1.0, per_second)
        self._left = self._size
        self._at_s = clock()

    def take(self, cost: int = 1) -> float:
        """Take `cost` tokens and return 0, or take none and return the seconds until enough are available.

        A cost above the size of the bucket waits for the full bucket.
        """
        now_s = self._clock()
        # A clock that stops or goes back adds nothing.
        self._left = min(self._size, self._left + max(0.0, now_s - self._at_s) * self._rate)
        self._at_s = now_s
        if self._left >= cost:
            self._left -= cost
            return 0.0
        return max(0.001, (min(cost, self._size) - self._left) / self._rate)

    def refund(self, cost: int) -> None:
        """Return the tokens of a request that was refused by another limit."""
        self._left = min(self._size, self._left + cost)


class DailyQuota:
    """Quota of requests a day; days end at midnight UTC."""

    def __init__(self, per_day: int, clock: Callable[[], float] = time.time) -> None:
        self._per_day = per_day
        self._clock = clock
        self._day = 0
        self._used = 0

    def take(self, cost: int = 1) -> float:
        """Take `cost` and return 0, or take nothing and return the seconds until the day ends."""
        now_s = self._clock()
        today = int(now_s // _DAY_S)
        # A clock that goes back over midnight adds nothing; a clock that was days ahead blocks no caller.
        if today > self._day or today < self._day - 1:
            self._day, self._used = today, 0
        if self._used + cost <= self._per_day:
            self._used += cost
            return 0.0
        return max(1.0, (self._day + 1) * _DAY_S - now_s)


@dataclass
class _LocalLimits:
    """Limits of one key, counted by this worker."""

    bucket: TokenBucket | None
    quota: DailyQuota | None


@dataclass(frozen=True)
class _LimitedRequest:
    """Cost of a request, and the limits of its key."""

    cost: int
    per_second: float
    per_day: int


@dataclass
class RateLimiter:
    """Rate limiter of API keys.

    Attributes:
        run_command: Runs a command in the next round trip to Redis; None without Redis.
        local_counter: Counts requests whose limits were checked by this worker alone.
    """

    run_command: Callable[[Command], Awaitable[Any]] | None = None
    local_counter: Counter | None = None
    clock: Callable[[], float] = time.monotonic
    day_clock: Callable[[], float] = time.time
    _local: dict[tuple[str, str], _LocalLimits] = field(default_factory=dict)
    _fallback_logged: bool = False

    def take(
        self, tenant: str, name: str, per_second: float, per_day: int, cost: int = 1
    ) -> "asyncio.Future[None] | None":
        """Start to take `cost`, all or nothing.

        Returns:
            A future that raises a `Problem` 429 over a limit; None for a key without limits.
        """
        if not per_second and not per_day:
            return None
        if (local := self._local.get((tenant, name))) is None:
            local = self._local[tenant, name] = self._create_local(per_second, per_day)
        command: Command = (
            "EVAL", _SCRIPT, 2, keys.rate(tenant, name), keys.quota(tenant, name), per_second, per_day, cost
        )  # fmt: skip
        future = asyncio.ensure_future(self._take(command, local, _LimitedRequest(cost, per_second, per_day)))
        # A request that is refused for another reason does not await this future.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        return future

    async def _take(self, command: Command, local: _LocalLimits, request: _LimitedRequest) -> None:
        if self.run_command is not None:
            try:
                exceeded, wait_ms = await self.run_command(command)
            except StoreError as error:
                self._report_fallback(error)
            else:
                self._fallback_logged = False
                _raise_if_exceeded(exceeded, wait_ms / 1000, request)
                return
        elif self.local_counter is not None:
            self.local_counter.inc()
        if local.bucket is not None and (wait_s := local.bucket.take(request.cost)):
            _raise_if_exceeded(_RATE, wait_s, request)
        if local.quota is not None and (wait_s := local.quota.take(request.cost)):
            if local.bucket is not None:
                local.bucket.refund(request.cost)
            _raise_if_exceeded(_QUOTA, wait_s, request)

    def _report_fallback(self, error: StoreError) -> None:
        if self.local_counter is not None:
            self.local_counter.inc()
        if not self._fallback_logged:  # once, not for every request
            logger.warning("Redis is down; each worker limits on its own", extra={"reason": str(error)})
        self._fallback_logged = True

    def _create_local(self, per_second: float, per_day: int) -> _LocalLimits:
        return _LocalLimits(
            TokenBucket(per_second, self.clock) if per_second else None,
            DailyQuota(per_day, self.day_clock) if per_day else None,
        )


def _raise_if_exceeded(exceeded: int, wait_s: float, request: _LimitedRequest) -> None:
    if exceeded:
        raise Problem(429, _limit_message(exceeded, request), headers={"retry-after": str(math.ceil(wait_s))})


def _limit_message(exceeded: int, request: _LimitedRequest) -> str:
    if request.cost == 1:
        if exceeded == _RATE:
            return "This key's rate limit is exceeded; send fewer requests a second."
        return "This key's quota for today is used up; retry tomorrow."
    is_rate = exceeded == _RATE
    most = int(max(1, request.per_second)) if is_rate else request.per_day
    prefix = f"This request counts as {request.cost} and this key"
    if request.cost > most:
        return f"{prefix} may send {most} {'at once' if is_rate else 'a day'}; send fewer at once."
    return f"{prefix}'s {'rate' if is_rate else 'quota for today'} leaves fewer; send fewer at once or wait."
