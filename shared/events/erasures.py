"""Erased users and sessions: looked up for each drained batch, so that no late event of an erased user is stored.

Events of a session carry no user. So Redis stores, as long as it stores erasures, which sessions belonged to an erased
user and until when their events are dropped.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import orjson
from redis import Redis

from retort.shared.base.errors import StoreError
from retort.shared.history import keys
from retort.shared.history.cluster_reads import Command
from retort.shared.history.store import SEPARATOR, Owner

KEPT_MS = 90 * 86_400_000

# When memory is full, Redis refuses writes that need memory, but not within a script that has deleted something before:
# an erasure must be possible then, because it frees memory.
_RECORD_SESSIONS = """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[1])
for i = 2, #ARGV, 2 do redis.call('ZADD', KEYS[1], 'GT', ARGV[i], ARGV[i + 1]) end
return 0
"""


class Personal(Protocol):
    """A row of a stream that is deleted with its user, or with the user of its session."""

    @property
    def tenant(self) -> str: ...

    @property
    def user_id(self) -> str | None: ...

    @property
    def session_id(self) -> str | None: ...

    @property
    def accepted_ms(self) -> int: ...


def find_erased(client: Redis, rows: Sequence[Personal]) -> dict[Owner, int]:
    """Return the erased users and sessions among the owners of these rows, with the time of the request in ms."""
    owners = sorted({owner for row in rows if (owner := owner_of(row)) is not None})
    if not owners:
        return {}
    pipeline = client.pipeline(transaction=False)
    for owner in owners:
        cast(Any, pipeline).execute_command(*erasure_command(owner))
    erased = read_erasures(owners, pipeline.execute())  # raises the error of a failed command
    return {owner: until for owner, until in erased.items() if isinstance(until, int)}


def erasure_command(owner: Owner) -> Command:
    """Return the command whose reply `read_erasures` parses; not MGET: in a cluster the keys are on several nodes."""
    if owner.kind == "user":
        return ("GET", keys.erasure(owner.tenant, owner.id))
    return ("ZSCORE", keys.erased_sessions(), _member(owner.tenant, owner.id))


def read_erasures(owners: Sequence[Owner], replies: Sequence[Any]) -> dict[Owner, int | StoreError]:
    """Return the erased owners, with the time of the request in ms, or with the error of a failed command."""
    return {
        owner: _read_erasure(owner, reply) for owner, reply in zip(owners, replies, strict=True) if reply is not None
    }


def _read_erasure(owner: Owner, reply: Any) -> int | StoreError:
    if isinstance(reply, Exception):
        return StoreError(f"the record of an erasure cannot be read ({reply}); delete the key if it has another type.")
    return int(orjson.loads(reply)["requested_ms"]) if owner.kind == "user" else int(float(reply))


def sessions_of_erased(rows: Sequence[Personal], erased: Mapping[Owner, int]) -> dict[Owner, int]:
    """Return the sessions of erased users among these rows, and until when their events are to be deleted, in ms."""
    found: dict[Owner, int] = {}
    for row in rows:
        if row.user_id is None or row.session_id is None:
            continue
        until_ms = erased.get(Owner(row.user_id, row.tenant), -1)
        if row.accepted_ms <= until_ms:
            session = Owner(row.session_id, row.tenant, "session")
            found[session] = max(until_ms, found.get(session, -1))
    return found


def owner_of(row: Personal) -> Owner | None:
    """Return the user, else the session; None if the row has neither."""
    if row.user_id is not None:
        return Owner(row.user_id, row.tenant)
    return None if row.session_id is None else Owner(row.session_id, row.tenant, "session")


def record_erased_sessions(client: Any, tenant: str, session_ids: Sequence[str], until_ms: int) -> Any:
    """Store erased sessions; of two erasures the later time counts. With an asyncio client, await the result."""
    words = [word for session_id in session_ids for word in (until_ms, _member(tenant, session_id))]
    return client.eval(_RECORD_SESSIONS, 1, keys.erased_sessions(), until_ms - KEPT_MS, *words)


def _member(tenant: str, session_id: str) -> str:
    """Member of the set of erased sessions; a tenant's name contains no separator."""
    return f"{tenant}{SEPARATOR}{session_id}"
