"""How much a key may ask: so many a second and a day, over all workers, counted by Redis in the request's own trip.

While Redis is away, and where there is none, each worker counts for itself: a key may then have up to as many times its
rate as there are workers, and `retort_limits_by_worker_total` says so.
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
from retort.shared.history.redis_history import Command

logger = logging.getLogger(__name__)

_DAY_S = 86_400
_RATE, _QUOTA = 1, 2
# The rate is GCRA (ATM Forum, 1994) with one second's worth to burst: the key holds when the bucket is full again, in
# ms. Redis' own clock decides, so that workers on several machines agree; where it went back, the bucket is full.
# Answers {0, 0} and `cost` fewer left, or, with nothing taken, {what does not suffice, ms until it does}; a cost that
# never fits waits for the full bucket.
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


class Bucket:
    """So many a second, with one second's worth to burst."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_second
        self._clock = clock
        self._size = max(1.0, per_second)
        self._left = self._size
        self._at_s = clock()

    def take(self, cost: int = 1) -> float:
        """0 and `cost` fewer left, or the seconds until there are so many, or as many as there can be."""
        now_s = self._clock()
        # A clock that stood still or went back gives nothing.
        self._left = min(self._size, self._left + max(0.0, now_s - self._at_s) * self._rate)
        self._at_s = now_s
        if self._left >= cost:
            self._left -= cost
            return 0.0
        return max(0.001, (min(cost, self._size) - self._left) / self._rate)

    def give_back(self, cost: int) -> None:
        """Undo a taking whose request was refused for another reason."""
        self._left = min(self._size, self._left + cost)


class Quota:
    """So many a day; days end at midnight UTC."""

    def __init__(self, per_day: int, clock: Callable[[], float] = time.time) -> None:
        self._per_day = per_day
        self._clock = clock
        self._day = 0
        self._used = 0

    def take(self, cost: int = 1) -> float:
        """0 and `cost` fewer left, or the seconds until the day ends."""
        now_s = self._clock()
        today = int(now_s // _DAY_S)
        # A clock that goes back a little over midnight gives nothing; one that had run days ahead locks nobody out.
        if today > self._day or today < self._day - 1:
            self._day, self._used = today, 0
        if self._used + cost <= self._per_day:
            self._used += cost
            return 0.0
        return max(1.0, (self._day + 1) * _DAY_S - now_s)


@dataclass
class _Own:
    """What this worker counts for itself."""

    bucket: Bucket | None
    quota: Quota | None


@dataclass(frozen=True)
class _Asked:
    """What a request costs, and what its key may have."""

    cost: int
    per_second: float
    per_day: int


@dataclass
class Limits:
    """The limits of keys. `ask` runs a command in the next trip to Redis; None: there is no Redis."""

    ask: Callable[[Command], Awaitable[Any]] | None = None
    by_worker: Counter | None = None
    clock: Callable[[], float] = time.monotonic
    day_clock: Callable[[], float] = time.time
    _own: dict[tuple[str, str], _Own] = field(default_factory=dict)
    _told: bool = False

    def take(
        self, tenant: str, name: str, per_second: float, per_day: int, cost: int = 1
    ) -> "asyncio.Future[None] | None":
        """Begin to take `cost`, all or nothing; None where the key has no limit. Await it: 429 where less is left."""
        if not per_second and not per_day:
            return None
        if (own := self._own.get((tenant, name))) is None:
            own = self._own[tenant, name] = self._fresh(per_second, per_day)
        command: Command = (
            "EVAL", _SCRIPT, 2, keys.rate(tenant, name), keys.quota(tenant, name), per_second, per_day, cost
        )  # fmt: skip
        taking = asyncio.ensure_future(self._take(command, own, _Asked(cost, per_second, per_day)))
        # Whoever is refused for another reason never looks at this one.
        taking.add_done_callback(lambda done: done.cancelled() or done.exception())
        return taking

    async def _take(self, command: Command, own: _Own, asked: _Asked) -> None:
        if self.ask is not None:
            try:
                used_up, wait_ms = await self.ask(command)
            except StoreError as error:
                self._tell(error)
            else:
                self._told = False
                _refuse(used_up, wait_ms / 1000, asked)
                return
        elif self.by_worker is not None:
            self.by_worker.inc()
        if own.bucket is not None and (wait_s := own.bucket.take(asked.cost)):
            _refuse(_RATE, wait_s, asked)
        if own.quota is not None and (wait_s := own.quota.take(asked.cost)):
            if own.bucket is not None:
                own.bucket.give_back(asked.cost)
            _refuse(_QUOTA, wait_s, asked)

    def _tell(self, error: StoreError) -> None:
        if self.by_worker is not None:
            self.by_worker.inc()
        if not self._told:  # once, not for every request
            logger.warning("limits are counted by each worker for itself", extra={"reason": str(error)})
        self._told = True

    def _fresh(self, per_second: float, per_day: int) -> _Own:
        return _Own(
            Bucket(per_second, self.clock) if per_second else None, Quota(per_day, self.day_clock) if per_day else None
        )


def _refuse(used_up: int, wait_s: float, asked: _Asked) -> None:
    if used_up:
        raise Problem(429, _sentence(used_up, asked), headers={"retry-after": str(math.ceil(wait_s))})


def _sentence(used_up: int, asked: _Asked) -> str:
    if asked.cost == 1:
        return (
            "This key's rate is used up; slow down." if used_up == _RATE else "This key's quota for today is used up."
        )
    rate = used_up == _RATE
    most = int(max(1, asked.per_second)) if rate else asked.per_day
    request = f"This request counts as {asked.cost} and this key"
    if asked.cost > most:
        return f"{request} may have {most} {'at once' if rate else 'a day'}; send fewer at once."
    return f"{request}'s {'rate' if rate else 'quota for today'} leaves fewer; send fewer at once or wait."
