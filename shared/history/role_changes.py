"""Reconnection: connections to a Redis that is no longer the primary, or that has ended them, are not used again.

Behind one address (a load balancer, a DNS name, a managed Redis) a failover leaves connections open to the demoted
server. It keeps answering reads and refuses every write, so a pool that keeps these connections never recovers. The
first such refusal therefore makes all connections of the pool connect again before their next command.

A server that restarts, or a proxy that ends idle connections, closes them. redis-py's asyncio client notices that only
when the next command has failed; here a connection that its server has ended is opened again before the command.
"""

import time
from typing import Any

from redis.exceptions import ResponseError

# First words of replies of a server that does not, or does not now, serve as the primary.
_REFUSALS = ("READONLY", "MOVED", "MASTERDOWN", "NOREPLICAS", "LOADING", "UNBLOCKED")
# A new connection that is refused at once is kept for so long: the address may not have changed yet.
_SETTLED_S = 0.5


class _Roles:
    """Number of role changes seen by one pool; a connection that was opened before the latest one is stale."""

    def __init__(self) -> None:
        self.changes = 0

    def observe(self, error: ResponseError, opened_at_s: float, opened_after: int) -> None:
        """Count a role change, once for all connections that were opened before it."""
        is_refusal = any(word in str(error) or word in type(error).__name__.upper() for word in _REFUSALS)
        if is_refusal and opened_after == self.changes and time.monotonic() - opened_at_s >= _SETTLED_S:
            self.changes += 1


def follow_role_changes(pool: Any) -> None:
    """Let the pool's future connections follow role changes; call it before the first command."""
    pool.connection_class = _blocking_class(pool.connection_class, _Roles())


def follow_role_changes_async(pool: Any) -> None:
    """Do the same for a pool of an asyncio client."""
    pool.connection_class = _async_class(pool.connection_class, _Roles())


def reconnect_ended_of_cluster(client: Any) -> None:
    """Let the connections of an asyncio cluster client be opened again when their node has ended them."""
    ending = _async_class(client.connection_kwargs["connection_class"], _Roles())
    for kwargs in (client.connection_kwargs, client.nodes_manager.connection_kwargs):
        kwargs["connection_class"] = ending
    for node in client.startup_nodes:
        node.connection_class = ending


def _blocking_class(base: Any, roles: _Roles) -> Any:
    class FollowingConnection(base):  # type: ignore[misc]
        """Connection that is opened again after a role change."""

        _opened_after, _opened_at_s = 0, 0.0

        def _connect(self) -> Any:
            self._opened_after, self._opened_at_s = roles.changes, time.monotonic()
            return super()._connect()

        def connect(self) -> None:
            if self._opened_after != roles.changes:
                self.disconnect()
            super().connect()

        def read_response(self, *args: Any, **options: Any) -> Any:
            try:
                return super().read_response(*args, **options)
            except ResponseError as error:
                roles.observe(error, self._opened_at_s, self._opened_after)
                raise

    return FollowingConnection


def _async_class(base: Any, roles: _Roles) -> Any:
    class FollowingConnection(base):  # type: ignore[misc]
        """Connection that is opened again after a role change."""

        _opened_after, _opened_at_s = 0, 0.0

        async def _connect(self) -> None:
            self._opened_after, self._opened_at_s = roles.changes, time.monotonic()
            await super()._connect()

        async def connect(self) -> None:
            if self._opened_after != roles.changes:
                await self.disconnect()
            await super().connect()

        async def send_packed_command(self, *args: Any, **options: Any) -> None:
            if self._has_ended():
                await self.disconnect(nowait=True)
            await super().send_packed_command(*args, **options)

        def _has_ended(self) -> bool:
            reader = self._reader
            return reader is not None and (reader.at_eof() or reader.exception() is not None)

        async def read_response(self, *args: Any, **options: Any) -> Any:
            try:
                return await super().read_response(*args, **options)
            except ResponseError as error:
                roles.observe(error, self._opened_at_s, self._opened_after)
                raise

    return FollowingConnection
