"""Authentication by API keys, which are stored as hashes, with scopes, a tenant and rate limits.

A key is 32 random bytes, so one SHA-256 protects it: a slow hash only helps against guessing.
"""

import asyncio
import hashlib
import secrets
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from retort.serving.api.rate_limits import RateLimiter
from retort.serving.schemas.problems import Problem
from retort.shared.base.errors import RetortError, first_invalid
from retort.shared.history.keys import DEFAULT_TENANT

_BEARER = b"bearer "


class Scope(StrEnum):
    """Permission of a key; no scope includes another."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


class KeyEntry(BaseModel):
    """One entry of the key file. The key itself is not stored."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: frozenset[Scope]
    tenant: str = Field(DEFAULT_TENANT, pattern=r"^[a-z0-9_-]{1,64}$")
    per_second: float = Field(0.0, ge=0, description="requests a second over all workers; 0: unlimited")
    per_day: int = Field(0, ge=0, description="requests a day (UTC) over all workers; 0: unlimited")


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller."""

    tenant: str
    scopes: frozenset[Scope]
    name: str | None = None


_UNRESTRICTED = Caller(DEFAULT_TENANT, frozenset(Scope))


class Authenticator:
    """Authenticates callers by their key. Without keys every caller has all scopes, on loopback only."""

    def __init__(self, entries: tuple[KeyEntry, ...] = (), limiter: RateLimiter | None = None) -> None:
        # By hash: a caller cannot choose the hash of a guess, so the time of a look-up reveals nothing.
        self._entries = {entry.sha256: entry for entry in entries}
        self._limiter = limiter or RateLimiter()

    @property
    def is_open(self) -> bool:
        """True when there are no keys."""
        return not self._entries

    async def authenticate_within_limits(self, headers: dict[bytes, bytes], scope: Scope, cost: int = 1) -> Caller:
        """Authenticate a request and wait for the check of its key's limits.

        Args:
            cost: Number of single requests that it counts as.

        Raises:
            Problem: 401 without a valid key, 403 without the scope, 429 over a limit.
        """
        caller, limit_check = self.authenticate(headers, scope, cost)
        if limit_check is not None:
            await limit_check
        return caller

    def authenticate(
        self, headers: dict[bytes, bytes], scope: Scope, cost: int = 1
    ) -> "tuple[Caller, asyncio.Future[None] | None]":
        """Authenticate a request and start the check of its key's limits, in the next round trip to Redis.

        Returns:
            The caller, and the check, which must be awaited before the response; None for a key without limits.

        Raises:
            Problem: 401 without a valid key, 403 without the scope.
        """
        caller, entry = self._authorize(headers, scope)
        if entry is None:
            return caller, None
        return caller, self._limiter.take(entry.tenant, entry.name, entry.per_second, entry.per_day, cost)

    def require_scope(self, headers: dict[bytes, bytes], scope: Scope) -> Caller:
        """Authenticate a request without its limits.

        Raises:
            Problem: 401 without a valid key, 403 without the scope.
        """
        return self._authorize(headers, scope)[0]

    def require_valid_key(self, headers: dict[bytes, bytes]) -> None:
        """Check the key before the request is read; the route checks the scope and the limits.

        Raises:
            Problem: 401 without a valid key.
        """
        if self._entries:
            self._find_entry(headers)

    def _authorize(self, headers: dict[bytes, bytes], scope: Scope) -> tuple[Caller, KeyEntry | None]:
        if not self._entries:
            return _UNRESTRICTED, None
        entry = self._find_entry(headers)
        if scope not in entry.scopes:
            raise Problem(403, f"This key has no {scope} scope.")
        return Caller(entry.tenant, entry.scopes, entry.name), entry

    def _find_entry(self, headers: dict[bytes, bytes]) -> KeyEntry:
        entry = self._match(_key_of(headers))
        if entry is None:
            raise Problem(
                401,
                "A valid API key is required: send it as `Authorization: Bearer KEY`.",
                headers={"www-authenticate": "Bearer"},
            )
        return entry

    def _match(self, key: bytes | None) -> KeyEntry | None:
        if key is None:
            return None
        return self._entries.get(hashlib.sha256(key).hexdigest())


async def require_admin(request: Request) -> Caller:
    """Authenticate a request to an admin route, before its path and body are validated.

    Raises:
        Problem: 401 without a valid key, 403 without the admin scope, 429 over a limit.
    """
    authenticator: Authenticator = request.app.services.authenticator
    return await authenticator.authenticate_within_limits(dict(request.scope["headers"]), Scope.ADMIN)


AdminCaller = Annotated[Caller, Depends(require_admin)]


def read_keys(path: Path) -> tuple[KeyEntry, ...]:
    """Read the key file, a JSON list of `KeyEntry`.

    Raises:
        RetortError: The file is missing, empty or invalid.
    """
    try:
        entries = TypeAdapter(tuple[KeyEntry, ...]).validate_json(path.read_bytes())
    except FileNotFoundError:
        raise RetortError(f"the key file {path} does not exist; create a key with `retort-serve key NAME`.") from None
    except ValidationError as error:
        raise RetortError(f"the key file {path} is invalid: {first_invalid(error)}.") from None
    if not entries:
        raise RetortError(f"the key file {path} holds no key; create one with `retort-serve key NAME`.")
    names = [entry.name for entry in entries]
    if len(set(names)) != len(names):
        raise RetortError(f"the key file {path} holds two keys of the same name; give each key a unique name.")
    return entries


def create_key(name: str, scopes: frozenset[Scope], tenant: str = DEFAULT_TENANT) -> tuple[str, KeyEntry]:
    """Create a key.

    Returns:
        The key, which is shown once, and its entry for the key file.
    """
    key = f"rt_{secrets.token_urlsafe(32)}"
    digest = hashlib.sha256(key.encode()).hexdigest()
    return key, KeyEntry(name=name, sha256=digest, scopes=scopes, tenant=tenant)


def _key_of(headers: dict[bytes, bytes]) -> bytes | None:
    value = headers.get(b"authorization")
    if value is not None and value[: len(_BEARER)].lower() == _BEARER:
        return value[len(_BEARER) :].strip()
    return headers.get(b"x-api-key")
