"""History store in Redis: one sorted set for each user (`shared/history/keys.py`), scored by the event's own time.

Every call but a merge is one round trip: commands are sent in one pipeline, without MULTI, so that a cluster proxy and
a plain server behave alike.
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, cast

import redis
import redis.asyncio as redis_asyncio
from redis.exceptions import RedisError, ResponseError

from retort.shared.base.errors import StoreError
from retort.shared.history import keys
from retort.shared.history.cluster_reads import ClusterReads, Command
from retort.shared.history.history_writes import append_command, merge_command
from retort.shared.history.merge_locks import lock_if_possible, merge_locks, remove_members
from retort.shared.history.redis_clients import open_async_client
from retort.shared.history.redis_errors import SERVER_DOWN, as_store_error, store_error
from retort.shared.history.store import (
    NOT_ERASED,
    SEPARATOR,
    Entry,
    ErasedUntil,
    HistoryEvent,
    Owner,
    Record,
    Written,
    group_by_owner,
    total_new,
)
from retort.shared.history.stored_history import read_item_ids

_SEPARATOR = SEPARATOR.encode()
_SCANNED_AT_ONCE = 1000


class RedisHistory:
    """`HistoryStore` over redis-py's asyncio client."""

    def __init__(self, client: Any, *, max_events: int = 1000, ttl_s: int | None = None) -> None:
        self._client = client
        self._max_events = max_events
        self._ttl_s = ttl_s
        self._cluster = ClusterReads(client) if isinstance(client, redis_asyncio.RedisCluster) else None

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        max_events: int = 1000,
        ttl_s: int | None = None,
        timeout_s: float = 1.0,
        connections: int = 16,
    ) -> "RedisHistory":
        """Open a store with its own connection pool; it connects with the first call."""
        client = open_async_client(url, timeout_s=timeout_s, connections=connections)
        return cls(client, max_events=max_events, ttl_s=ttl_s)

    @property
    def client(self) -> Any:
        """The client, for other data in the same Redis."""
        return self._client

    async def append(self, events: Sequence[HistoryEvent]) -> int:
        return total_new(await self.append_by_owner(events))

    async def append_by_owner(self, events: Sequence[HistoryEvent]) -> dict[Owner, Written | StoreError]:
        if not events:
            return {}
        grouped = group_by_owner(events)
        commands = [append_command(o.key, scores, self._max_events, self._ttl_s) for o, scores in grouped.items()]
        replies = await self.run(commands)
        return {owner: _written(reply) for owner, reply in zip(grouped, replies, strict=True)}

    async def recent(self, owners: Sequence[Owner], limit: int) -> list[list[str]]:
        if not owners:
            return []
        rows, _ = await self.recent_with_commands(owners, limit, ())
        histories = []
        for row in rows:
            if isinstance(row, StoreError):
                raise row
            histories.append(list(row))
        return histories

    async def recent_with_commands(
        self, owners: Sequence[Owner], limit: int, commands: Sequence[Command]
    ) -> tuple[list[list[str] | StoreError], list[Any]]:
        """Return histories and the replies of other commands, in one round trip to each node.

        Returns:
            For each owner the history, or the StoreError of this owner alone, such as a key of another type; for each
            command the reply or its exception.

        Raises:
            StoreError: No node answered.
        """
        wanted = [*(("ZRANGE", owner.key, -limit, -1) for owner in owners), *commands]
        try:
            replies = await self.run(wanted)
        except StoreError as error:
            if not isinstance(error.__cause__, redis.ConnectionError):
                raise
            # the connection was lost; the next one is opened anew
            replies = await self.run(wanted)
        return [_history(owner, row) for owner, row in zip(owners, replies, strict=False)], replies[len(owners) :]

    def node_of(self, key: str) -> str:
        """Return the name of the node that has the key; empty for a single server."""
        return "" if self._cluster is None else self._cluster.node_of(key)

    def is_node(self, name: str) -> bool:
        """Whether the name is one that `node_of` returns at present."""
        return name == "" if self._cluster is None else self._cluster.is_node(name)

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands in one round trip to each node; a failed one gives its exception.

        Raises:
            StoreError: No node answered.
        """
        with as_store_error():
            replies = await self._run(commands)
            if replies and all(isinstance(reply, SERVER_DOWN) for reply in replies):
                raise replies[0]
        return replies

    async def _run(self, commands: Sequence[Command]) -> list[Any]:
        if self._cluster is not None:
            return await self._cluster.run(commands)
        if len(commands) == 1:
            # A single command needs no pipeline, which would double the cost.
            try:
                return [await self._client.execute_command(*commands[0])]
            except ResponseError as error:
                return [error]
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        replies: list[Any] = await pipeline.execute(raise_on_error=False)
        return replies

    async def entries(self, owner: Owner) -> list[Entry]:
        with as_store_error():
            rows = await self._whole(owner)
        return [Entry(name.rpartition(_SEPARATOR)[0].decode(), int(score // 1)) for name, score in rows]

    async def forget(self, owner: Owner, until_ms: int | None = None) -> int:
        with as_store_error():
            try:
                # A merge that has read the events would write them into the other history after they are deleted.
                async with lock_if_possible(self._client, owner):
                    return await self._forget(owner, until_ms)
            except ResponseError as error:
                if "WRONGTYPE" not in str(error):
                    raise
                # Another program has written the user's key: an erasure deletes it too.
                await self._client.unlink(owner.key)
                return 0

    async def _forget(self, owner: Owner, until_ms: int | None) -> int:
        if until_ms is not None:
            # Equal times differ by fractions of a millisecond: the whole last millisecond is deleted.
            return int(await self._client.zremrangebyscore(owner.key, "-inf", f"({until_ms + 1}"))
        pipeline = self._client.pipeline(transaction=False)
        pipeline.zcard(owner.key)
        # not .unlink(): the cluster client's version splits keys by node and is not allowed in a pipeline
        pipeline.execute_command("UNLINK", owner.key)
        held, _ = await pipeline.execute()
        return int(held)

    async def merge(
        self, source: Owner, target: Owner, record: Record | None = None, erased_until: ErasedUntil | None = None
    ) -> int:
        if source == target:
            return 0
        with as_store_error():
            async with merge_locks(self._client, source, target) as token:
                until_ms = NOT_ERASED if erased_until is None else await erased_until()
                rows = await self._whole(source)
                moved = {name.decode(): score for name, score in rows if score >= until_ms + 1}
                count = 0
                if moved:
                    command = merge_command(target.key, moved, self._max_events, self._ttl_s)
                    count = int(await self._client.execute_command(*command))
                if record is not None:
                    await record()
                # In a round trip of its own: when memory is full, Redis rejects the write but would still delete. Only
                # what was read is deleted: an event that arrives in between stays for the next merge.
                await remove_members(self._client, source, [name.decode() for name, _ in rows], token)
        return count

    async def user_ids(self, tenant: str, limit: int, timeout_s: float) -> tuple[list[str], bool]:
        start, end = keys.history(tenant, "*").encode().split(b"*")
        found: set[bytes] = set()
        with as_store_error():
            try:
                async with asyncio.timeout(timeout_s):
                    async for key in self._client.scan_iter(match=start + b"*" + end, count=_SCANNED_AT_ONCE):
                        found.add(key)
                        if len(found) > limit:
                            break
            except TimeoutError:  # a server with many other keys
                return _user_ids(found, start, end)[:limit], False
        return _user_ids(found, start, end)[:limit], len(found) <= limit

    async def ping(self) -> None:
        with as_store_error():
            await self._client.ping()

    async def close(self) -> None:
        # Errors of an unavailable server are ignored.
        if self._cluster is not None:
            await self._cluster.close()
        with suppress(RedisError, OSError, TimeoutError):
            await self._client.aclose()

    async def _whole(self, owner: Owner) -> list[tuple[bytes, float]]:
        rows = await self._client.zrange(owner.key, 0, -1, withscores=True)
        return cast(list[tuple[bytes, float]], rows)


def _user_ids(found: Iterable[bytes], start: bytes, end: bytes) -> list[str]:
    return [key[len(start) : len(key) - len(end)].decode() for key in found]


def _written(reply: Any) -> Written | StoreError:
    return store_error(reply, "the history") if isinstance(reply, Exception) else Written(*reply)


def _history(owner: Owner, row: Any) -> list[str] | StoreError:
    if not isinstance(row, Exception):
        return read_item_ids(cast(list[bytes], row))
    return store_error(row, f"the history {owner.key}")
