"""Who may ask what: API keys that are stored as hashes, with scopes, a tenant and a rate.

A key is 32 random bytes, so one SHA-256 keeps it: there is nothing to guess that a slow hash would slow down.
"""

import asyncio
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from retort.serving.api.rate_limits import Limits
from retort.serving.schemas.problems import Problem
from retort.shared.base.errors import RetortError
from retort.shared.history.keys import DEFAULT_TENANT

_BEARER = b"bearer "


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
    per_second: float = Field(0.0, ge=0, description="0: no limit; over all workers, see serving/api/rate_limits.py")
    per_day: int = Field(0, ge=0, description="0: no limit; days end at midnight UTC; counted as above")


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever asks, once they have been let in."""

    tenant: str
    scopes: frozenset[Scope]
    name: str | None = None


_EVERYTHING = Caller(DEFAULT_TENANT, frozenset(Scope))


class Door:
    """Lets callers in. Without keys everybody may do everything, and the entry point binds to loopback only."""

    def __init__(self, entries: tuple[KeyEntry, ...] = (), limits: Limits | None = None) -> None:
        self._entries = entries
        self._limits = limits or Limits()

    @property
    def is_open(self) -> bool:
        return not self._entries

    async def enter(self, headers: dict[bytes, bytes], scope: Scope, cost: int = 1) -> Caller:
        """The caller behind the request's key, once the key's limits allow it; 401, 403 or 429 otherwise.

        cost: how many single requests it stands for.
        """
        caller, admitted = self.knock(headers, scope, cost)
        if admitted is not None:
            await admitted
        return caller

    def knock(
        self, headers: dict[bytes, bytes], scope: Scope, cost: int = 1
    ) -> "tuple[Caller, asyncio.Future[None] | None]":
        """The caller, and what must be awaited before they get anything: the limits are asked in the next trip."""
        caller, entry = self._let_in(headers, scope)
        if entry is None:
            return caller, None
        return caller, self._limits.take(entry.tenant, entry.name, entry.per_second, entry.per_day, cost)

    def admit(self, headers: dict[bytes, bytes], scope: Scope) -> Caller:
        """The caller by key and scope alone; 401 or 403 otherwise."""
        return self._let_in(headers, scope)[0]

    def _let_in(self, headers: dict[bytes, bytes], scope: Scope) -> tuple[Caller, KeyEntry | None]:
        if not self._entries:
            return _EVERYTHING, None
        entry = self._known(headers)
        if scope not in entry.scopes:
            raise Problem(403, f"This key has no {scope} scope.")
        return Caller(entry.tenant, entry.scopes, entry.name), entry

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
