"""The layout of Redis: every key that this product writes, in one place.

All keys of one user share the hash tag `{tenant:user}`, so that they live on one node of a cluster. A tenant's name
holds no colon (`shared/base/schema.py`), so that two tenants can never name the same key.
"""

PREFIX = "retort"
DEFAULT_TENANT = "default"


def history(tenant: str, user_id: str) -> str:
    """Sorted set: the user's events, score = time in ms, member = `item_id` 0x1f event hash."""
    return f"{PREFIX}:h:{{{tenant}:{user_id}}}"


def session(tenant: str, session_id: str) -> str:
    """Sorted set: the events of a visitor without a name, laid out as a history."""
    return f"{PREFIX}:s:{{{tenant}:{session_id}}}"


def event_stream() -> str:
    """Stream: every accepted event, until it has been drained into the database."""
    return f"{PREFIX}:events"


def exposure_stream() -> str:
    """Stream: batches of what was shown, until they have been drained into the database."""
    return f"{PREFIX}:exposures"


def counted(tenant: str, request_id: str, item_id: str, event_type: str) -> str:
    """String: this event of this shown item has been counted; it lives as long as senders may try again."""
    return f"{PREFIX}:c:{{{tenant}:{request_id}}}:{event_type}:{item_id}"


def rate(tenant: str, key_name: str) -> str:
    """String: when the bucket of an API key is full again, in ms since 1970 by Redis' clock."""
    return f"{PREFIX}:r:{{{tenant}:{key_name}}}"


def quota(tenant: str, key_name: str) -> str:
    """Hash: `day` since 1970, `used` requests of an API key on it."""
    return f"{PREFIX}:q:{{{tenant}:{key_name}}}"


def themes(tenant: str, user_id: str) -> str:
    """String, JSON: a few words of what the user's profile is about, for explanations."""
    return f"{PREFIX}:t:{{{tenant}:{user_id}}}"


def erasure(tenant: str, user_id: str) -> str:
    """String, JSON: how far the erasure of a user is, and from when on events count again."""
    return f"{PREFIX}:x:{{{tenant}:{user_id}}}"


def erasures_pending() -> str:
    """Set: `tenant` 0x1f `user_id` of erasures that are not finished."""
    return f"{PREFIX}:erasures"


def erased_sessions() -> str:
    """Sorted set: `tenant` 0x1f `session_id` of sessions that went with an erased user, score = until when in ms."""
    return f"{PREFIX}:erased-sessions"
