"""Redis key layout: all keys that this product writes.

All keys of one user share the hash tag `{tenant:user}`, so that they are on one node of a cluster. A tenant's name
contains no colon (`shared/base/schema.py`), so that two tenants never share a key.
"""

PREFIX = "retort"
DEFAULT_TENANT = "default"


def history(tenant: str, user_id: str) -> str:
    """Sorted set: the user's events, score = time in ms, member = `item_id` 0x1f event hash."""
    return f"{PREFIX}:h:{{{tenant}:{user_id}}}"


def session(tenant: str, session_id: str) -> str:
    """Sorted set: the events of a session without a user, laid out as a history."""
    return f"{PREFIX}:s:{{{tenant}:{session_id}}}"


def merge_lock(owner_key: str) -> str:
    """String: the token of the merge that holds this history, on the history's node; it expires."""
    return f"{PREFIX}:m:{owner_key}"


def event_stream() -> str:
    """Stream: every accepted event, until it is drained into the database."""
    return f"{PREFIX}:events"


def exposure_stream() -> str:
    """Stream: batches of exposures, until they are drained into the database."""
    return f"{PREFIX}:exposures"


def counted(tenant: str, request_id: str, item_id: str, event_type: str) -> str:
    """String: this event of this shown item has been counted; it expires when senders no longer retry."""
    return f"{PREFIX}:c:{{{tenant}:{request_id}}}:{event_type}:{item_id}"


def rate(tenant: str, key_name: str) -> str:
    """String: when the bucket of an API key is full again, in ms since 1970 by Redis' clock."""
    return f"{PREFIX}:r:{{{tenant}:{key_name}}}"


def quota(tenant: str, key_name: str) -> str:
    """Hash: `day` since 1970, and `used` requests of an API key on that day."""
    return f"{PREFIX}:q:{{{tenant}:{key_name}}}"


def themes(tenant: str, user_id: str) -> str:
    """String, JSON: themes of the user's profile, for explanations."""
    return f"{PREFIX}:t:{{{tenant}:{user_id}}}"


def erasure(tenant: str, user_id: str) -> str:
    """String, JSON: progress of a user's erasure, and the time from which events count again."""
    return f"{PREFIX}:x:{{{tenant}:{user_id}}}"


def erasures_pending() -> str:
    """Set: `tenant` 0x1f `user_id` of unfinished erasures."""
    return f"{PREFIX}:erasures"


def erased_sessions() -> str:
    """Sorted set: `tenant` 0x1f `session_id` of sessions erased with a user, score = until when in ms."""
    return f"{PREFIX}:erased-sessions"
