"""Redis clients for one server or for a cluster, chosen by the address.

`redis://host:6379/0` is one server, `redis+cluster://host:6379` any node of a Redis Cluster (`rediss…`: with TLS). All
keys of one user are on one node (`shared/history/keys.py`); the client splits a pipeline over many users by node.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis.asyncio as redis_asyncio
from redis import Redis
from redis.cluster import RedisCluster

from retort.shared.base.errors import StoreError
from retort.shared.history.role_changes import (
    follow_role_changes,
    follow_role_changes_async,
    reconnect_ended_of_cluster,
)

_CLUSTER = "+cluster://"


def is_cluster(url: str) -> bool:
    """Whether the address names a Redis Cluster."""
    return _CLUSTER in url


def open_client(url: str, *, timeout_s: float) -> Any:
    """Open a blocking client, for use as a context manager; a cluster's nodes are queried at once, one server later.

    Raises:
        StoreError: The address is invalid.
    """
    with _checked_address():
        if is_cluster(url):
            return RedisCluster.from_url(_plain(url), socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
        client = Redis.from_url(url, socket_timeout=timeout_s)
        follow_role_changes(client.connection_pool)
        return client


def open_async_client(url: str, *, timeout_s: float, connections: int) -> Any:
    """Open an asyncio client; it connects with the first call.

    Args:
        connections: Most connections, to the server or to each node.

    Raises:
        StoreError: The address is invalid.
    """
    with _checked_address():
        return _async_client(url, timeout_s, connections)


def _async_client(url: str, timeout_s: float, connections: int) -> Any:
    if is_cluster(url):
        client = redis_asyncio.RedisCluster.from_url(
            _plain(url), socket_timeout=timeout_s, socket_connect_timeout=timeout_s, max_connections=connections
        )
        reconnect_ended_of_cluster(client)
        return client
    # A pool that waits: the default one raises when all its connections are busy.
    pool = redis_asyncio.BlockingConnectionPool.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        max_connections=connections,
        timeout=timeout_s,
    )
    follow_role_changes_async(pool)
    return redis_asyncio.Redis.from_pool(pool)


@contextmanager
def _checked_address() -> Iterator[None]:
    """Turn errors of the address into StoreError, without the address: it may contain a password."""
    try:
        yield
    except ValueError:
        raise StoreError(
            "REDIS_URL (or HISTORIES_REDIS_URL) is not a Redis address; set it to one such as "
            "redis://:password@host:6379/0 or redis+cluster://host:6379."
        ) from None


def _plain(url: str) -> str:
    return url.replace(_CLUSTER, "://", 1)
