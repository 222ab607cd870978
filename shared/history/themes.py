"""Themes of users' profiles in Redis: offline writes them, serving uses them to explain recommendations.

One small string for each user (`shared/history/keys.py`): the strongest themes first, each an attribute of items and
one of its values, so that it can be checked whether an item has a theme. They expire, and are deleted with the user.
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
    """A theme, such as attribute `genre`, value `Film-Noir`."""

    attribute: str
    value: str


def write_themes(
    redis_url: str,
    users: Iterable[tuple[str, Sequence[Theme]]],
    *,
    ttl_s: int,
    tenant: str = keys.DEFAULT_TENANT,
) -> int:
    """Replace the themes of these users; users without themes lose earlier ones.

    Args:
        users: (user_id, themes).
        ttl_s: Seconds until the themes expire.

    Returns:
        The number of users with themes.
    """
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
            f"themes could not be written ({type(error).__name__}: {error}); check REDIS_URL and that the server runs."
        ) from error
    return written


def read_themes(raw: bytes | None) -> tuple[Theme, ...]:
    """Parse the value of a themes key; empty where it is missing or cannot be read."""
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
