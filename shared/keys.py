"""The layout of Redis: every key that this product writes, in one place.

All keys of one user share the hash tag `{tenant:user}`, so that they live on one node of a cluster.
"""

PREFIX = "retort"
DEFAULT_TENANT = "default"


def history(tenant: str, user_id: str) -> str:
    """Sorted set: the user's events, score = time in ms, member = `item_id` 0x1f event hash."""
    return f"{PREFIX}:h:{{{tenant}:{user_id}}}"
