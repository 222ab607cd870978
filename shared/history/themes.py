"""A few words of what a person's profile is about: offline leaves them in Redis, serving explains answers with them.

One small string a user (`shared/history/keys.py`): the strongest themes first, each an attribute of the items and
one of its values, so that an item can be said to carry a theme or not. They expire, and go when the user is erased.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import orjson
from redis.exceptions import RedisError

from retort.shared.base.errors import StoreError
from retort.shared.history import keys
from retort.shared.history.redis_clients import open_client

MAX_THEMES = 8
MAX_WORD_CHARS = 48
_USERS_PER_TRIP = 500


class Theme(NamedTuple):
    """`genre`, `Film-Noir`."""

    attribute: str
    value: str


def write_themes(
    redis_url: str,
    users: Iterable[tuple[str, Sequence[Theme]]],
    *,
    ttl_s: int,
    tenant: str = keys.DEFAULT_TENANT,
) -> int:
    """Replace these users' themes; one without themes loses those of before. Returns how many users have some."""
    written, iterator = 0, iter(users)
    try:
        with open_client(redis_url, timeout_s=30) as client:
            while chunk := list(islice(iterator, _USERS_PER_TRIP)):
                pipeline = client.pipeline(transaction=False)
                for user_id, themes in chunk:
                    _queue(pipeline, keys.themes(tenant, user_id), themes, ttl_s)
                pipeline.execute()
                written += sum(bool(themes) for _, themes in chunk)
    except (RedisError, OSError) as error:
        raise StoreError(
            f"themes could not be written ({type(error).__name__}: {error}); check REDIS_URL and that the server is up."
        ) from error
    return written


def read_themes(raw: bytes | None) -> tuple[Theme, ...]:
    """The themes in a key's value; none where there is none or it cannot be read."""
    if raw is None:
        return ()
    return tuple(_pairs(raw))


def _queue(pipeline: Any, key: str, themes: Sequence[Theme], ttl_s: int) -> None:
    kept = [theme for theme in themes if len(theme.attribute) + len(theme.value) <= 2 * MAX_WORD_CHARS][:MAX_THEMES]
    if kept:
        pipeline.set(key, orjson.dumps([tuple(theme) for theme in kept]), ex=ttl_s)
    else:
        pipeline.execute_command("UNLINK", key)


def _pairs(raw: bytes) -> Iterator[Theme]:
    try:
        rows = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, list) and len(row) == 2 and all(isinstance(word, str) for word in row):
            yield Theme(*row)
