"""Clients of redis-py for one server or for a cluster; the address says which.

`redis://host:6379/0` is one server, `redis+cluster://host:6379` any node of a Redis Cluster (`rediss…`: with TLS). All
keys of one user lie on one node (`shared/history/keys.py`); a pipeline over many users is split by node in the client.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis.asyncio as redis_asyncio
from redis import Redis
from redis.cluster import RedisCluster

from retort.shared.base.errors import StoreError

_CLUSTER = "+cluster://"


def is_cluster(url: str) -> bool:
    """Whether the address names a Redis Cluster."""
    return _CLUSTER in url


def open_client(url: str, *, timeout_s: float) -> Any:
    """A blocking client, to be used as a context manager. A cluster's nodes are asked for here, one server's later.

    StoreError where the address is none.
    """
    with _address_told():
        if is_cluster(url):
            return RedisCluster.from_url(_plain(url), socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
        return Redis.from_url(url, socket_timeout=timeout_s)


def open_async_client(url: str, *, timeout_s: float, connections: int) -> Any:
    """An asyncio client; nothing is dialled before the first call. connections: to one server, or to each node.

    StoreError where the address is none.
    """
    with _address_told():
        return _async_client(url, timeout_s, connections)


def _async_client(url: str, timeout_s: float, connections: int) -> Any:
    if is_cluster(url):
        return redis_asyncio.RedisCluster.from_url(
            _plain(url), socket_timeout=timeout_s, socket_connect_timeout=timeout_s, max_connections=connections
        )
    # A pool that waits: the plain one refuses whoever comes when all its connections are busy.
    pool = redis_asyncio.BlockingConnectionPool.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        max_connections=connections,
        timeout=timeout_s,
    )
    return redis_asyncio.Redis.from_pool(pool)


@contextmanager
def _address_told() -> Iterator[None]:
    """The address itself is not shown: it may hold a password."""
    try:
        yield
    except ValueError:
        raise StoreError(
            "REDIS_URL (or HISTORIES_REDIS_URL) is no address of a Redis; write one like "
            "redis://:password@host:6379/0 or redis+cluster://host:6379."
        ) from None


def _plain(url: str) -> str:
    return url.replace(_CLUSTER, "://", 1)
