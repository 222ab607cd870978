"""Errors of Redis as errors of the store, each with its remedy."""

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.exceptions import ClusterDownError, RedisError, ResponseError

from retort.shared.base.errors import StoreError

# Errors of a server that does not answer, in contrast to one that refuses a command.
SERVER_DOWN = (redis.ConnectionError, redis.TimeoutError, ClusterDownError, OSError, TimeoutError)


@contextmanager
def as_store_error() -> Iterator[None]:
    """Raise errors of Redis in the block as StoreError."""
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise store_error(error) from error


def store_error(error: Exception, what: str = "a command") -> StoreError:
    """Return the StoreError for an error of Redis.

    Args:
        what: What Redis refused, if it did.
    """
    if isinstance(error, ResponseError) and not isinstance(error, SERVER_DOWN):
        remedy = (
            "delete the key, which another program has written"
            if "WRONGTYPE" in str(error)
            else "see the log of Redis and check REDIS_URL"
        )
        return StoreError(f"Redis refused {what} ({error}); {remedy}.")
    return StoreError(
        f"Redis did not answer ({type(error).__name__}: {error}); check REDIS_URL and that the server is running."
    )
