"""Who was erased: what the drain asks for each batch, so that nothing that was on its way arrives afterwards.

Nobody is named in the nameless events of a session, so Redis holds, as long as the notes of erasures are kept, which
sessions went with a user, and until when what happened in them is dropped.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import orjson
from redis import Redis

from retort.shared.history import keys
from retort.shared.history.store import SEPARATOR, Owner

KEPT_MS = 90 * 86_400_000


class Personal(Protocol):
    """Anything on a stream that ends with the erasure of its user, or of the user of its session."""

    @property
    def tenant(self) -> str: ...

    @property
    def user_id(self) -> str | None: ...

    @property
    def session_id(self) -> str | None: ...

    @property
    def accepted_ms(self) -> int: ...


def find_erased(client: Redis, rows: Sequence[Personal]) -> dict[Owner, int]:
    """When the erasure of whose rows these are was asked for, in ms; only users and sessions with one."""
    owners = sorted({owner for row in rows if (owner := owner_of(row)) is not None})
    if not owners:
        return {}
    # not MGET: in a cluster the notes lie on several nodes
    pipeline = client.pipeline(transaction=False)
    for owner in owners:
        if owner.kind == "user":
            pipeline.get(keys.erasure(owner.tenant, owner.id))
        else:
            pipeline.zscore(keys.erased_sessions(), _name(owner.tenant, owner.id))
    notes = cast(list[bytes | float | None], pipeline.execute())
    return {
        owner: orjson.loads(note)["requested_ms"] if isinstance(note, bytes) else int(note)
        for owner, note in zip(owners, notes, strict=True)
        if note is not None
    }


def sessions_of_erased(rows: Sequence[Personal], erased: Mapping[Owner, int]) -> dict[Owner, int]:
    """The sessions in which the erased were named, until when they are to be forgotten."""
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
    """The user, else the session."""
    if row.user_id is not None:
        return Owner(row.user_id, row.tenant)
    return None if row.session_id is None else Owner(row.session_id, row.tenant, "session")


def record_erased_sessions(client: Any, tenant: str, session_ids: Sequence[str], until_ms: int) -> Any:
    """Note them; of two erasures the later one stands. What an asyncio client answers is to be awaited."""
    pipeline = client.pipeline(transaction=False)
    pipeline.zadd(keys.erased_sessions(), {_name(tenant, one): until_ms for one in session_ids}, gt=True)
    pipeline.zremrangebyscore(keys.erased_sessions(), "-inf", until_ms - KEPT_MS)
    return pipeline.execute()


def _name(tenant: str, session_id: str) -> str:
    """How the note names a session; a tenant holds no separator."""
    return f"{tenant}{SEPARATOR}{session_id}"
