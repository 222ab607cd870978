"""Who may ask what: API keys that are stored as hashes, with scopes, a tenant and a rate.

A key is 32 random bytes, so one SHA-256 keeps it: there is nothing to guess that a slow hash would slow down.
"""

import hashlib
import hmac
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from serving.problems import Problem
from shared.errors import RetortError
from shared.keys import DEFAULT_TENANT

_BEARER = b"bearer "
_DAY_S = 86_400


class Scope(StrEnum):
    """What a key may do; each holds only itself, a key lists all that it has."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


class KeyEntry(BaseModel):
    """One line of the key file. The key itself is nowhere."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: frozenset[Scope]
    tenant: str = Field(DEFAULT_TENANT, pattern=r"^[a-z0-9_-]{1,64}$")
    per_second: float = Field(0.0, ge=0, description="0: no limit; counted by each worker for itself")
    per_day: int = Field(0, ge=0, description="0: no limit; days end at midnight UTC; counted as above")


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever asks, once they have been let in."""

    tenant: str
    scopes: frozenset[Scope]
    name: str | None = None


_EVERYTHING = Caller(DEFAULT_TENANT, frozenset(Scope))


class Bucket:
    """So many a second, with one second's worth to burst."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_second
        self._clock = clock
        self._size = max(1.0, per_second)
        self._left = self._size
        self._at_s = clock()

    def take(self) -> float:
        """0 and one fewer left, or the seconds until there is one."""
        now_s = self._clock()
        # A clock that stood still or went back gives nothing.
        self._left = min(self._size, self._left + max(0.0, now_s - self._at_s) * self._rate)
        self._at_s = now_s
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) / self._rate


class Quota:
    """So many a day; days end at midnight UTC."""

    def __init__(self, per_day: int, clock: Callable[[], float] = time.time) -> None:
        self._per_day = per_day
        self._clock = clock
        self._day = 0
        self._used = 0

    def take(self) -> float:
        """0 and one fewer left, or the seconds until the day ends."""
        now_s = self._clock()
        today = int(now_s // _DAY_S)
        # A clock that goes back a little over midnight gives nothing; one that had run days ahead locks nobody out.
        if today > self._day or today < self._day - 1:
            self._day, self._used = today, 0
        if self._used < self._per_day:
            self._used += 1
            return 0.0
        return max(1.0, (self._day + 1) * _DAY_S - now_s)


class Door:
    """Lets callers in. Without keys everybody may do everything, and the entry point binds to loopback only."""

    def __init__(
        self,
        entries: tuple[KeyEntry, ...] = (),
        clock: Callable[[], float] = time.monotonic,
        day_clock: Callable[[], float] = time.time,
    ) -> None:
        self._entries = entries
        self._quotas = {entry.name: Quota(entry.per_day, day_clock) for entry in entries if entry.per_day}
        self._buckets = {entry.name: Bucket(entry.per_second, clock) for entry in entries if entry.per_second}

    @property
    def is_open(self) -> bool:
        return not self._entries

    def admit(self, headers: dict[bytes, bytes], scope: Scope) -> Caller:
        """The caller behind the request's key; 401, 403 or 429 otherwise."""
        if not self._entries:
            return _EVERYTHING
        entry = self._known(headers)
        if scope not in entry.scopes:
            raise Problem(403, f"This key has no {scope} scope.")
        bucket = self._buckets.get(entry.name)
        wait_s = bucket.take() if bucket is not None else 0.0
        if wait_s:
            raise Problem(
                429, "This key's rate is used up; slow down.", headers={"retry-after": str(math.ceil(wait_s))}
            )
        quota = self._quotas.get(entry.name)
        wait_s = quota.take() if quota is not None else 0.0
        if wait_s:
            raise Problem(
                429, "This key's quota for today is used up.", headers={"retry-after": str(math.ceil(wait_s))}
            )
        return Caller(entry.tenant, entry.scopes, entry.name)

    def refuse_strangers(self, headers: dict[bytes, bytes]) -> None:
        """401 without a valid key, before anything of the request is read; scope and rate are the route's to check."""
        if self._entries:
            self._known(headers)

    def _known(self, headers: dict[bytes, bytes]) -> KeyEntry:
        entry = self._find(_presented(headers))
        if entry is None:
            raise Problem(
                401,
                "An API key is needed: send it as `Authorization: Bearer KEY`.",
                headers={"www-authenticate": "Bearer"},
            )
        return entry

    def _find(self, key: bytes | None) -> KeyEntry | None:
        if key is None:
            return None
        presented = hashlib.sha256(key).hexdigest()
        found = None
        for entry in self._entries:  # all of them, so that time tells nothing about which came close
            if hmac.compare_digest(entry.sha256, presented):
                found = entry
        return found


def read_keys(path: Path) -> tuple[KeyEntry, ...]:
    """The key file: a JSON list of `KeyEntry`."""
    try:
        entries = TypeAdapter(tuple[KeyEntry, ...]).validate_json(path.read_bytes())
    except FileNotFoundError:
        raise RetortError(f"the key file {path} does not exist; make a key with `retort-serve key NAME`.") from None
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise RetortError(f"the key file {path} cannot be used: {where}: {first['msg']}.") from None
    if not entries:
        raise RetortError(f"the key file {path} holds no key; make one with `retort-serve key NAME`.")
    names = [entry.name for entry in entries]
    if len(set(names)) != len(names):
        raise RetortError(f"the key file {path} names a key twice; names must be unique.")
    return entries


def new_key(name: str, scopes: frozenset[Scope], tenant: str = DEFAULT_TENANT) -> tuple[str, KeyEntry]:
    """A fresh key, to be shown once, and the entry that stands for it."""
    key = f"rt_{secrets.token_urlsafe(32)}"
    digest = hashlib.sha256(key.encode()).hexdigest()
    return key, KeyEntry(name=name, sha256=digest, scopes=scopes, tenant=tenant)


def _presented(headers: dict[bytes, bytes]) -> bytes | None:
    given = headers.get(b"authorization")
    if given is not None and given[: len(_BEARER)].lower() == _BEARER:
        return given[len(_BEARER) :].strip()
    return headers.get(b"x-api-key")
