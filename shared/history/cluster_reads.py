"""Reads from the nodes of a Redis Cluster, each apart from the others.

redis-py's own pipeline over a cluster fails as a whole with one node, and closes the connections to all nodes when it
tries again. Users on the other nodes would lose their histories for the time of the failure. Here each node's commands
are one round trip of their own, and the cluster's layout is read again in the background after a failure.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from redis.asyncio.cluster import PipelineCommand
from redis.exceptions import AskError, ClusterDownError, ConnectionError, MovedError, RedisError, TryAgainError

logger = logging.getLogger(__name__)

# A Redis command as its words.
Command = tuple[str | bytes | float, ...]

_LAYOUT_INTERVAL_S = 1.0
_REDIRECTIONS = (MovedError, AskError, TryAgainError)


def key_of(command: Command) -> str:
    """Return the (first) key of a command: of a script, the word after the number of its keys."""
    place = 3 if command[0] in ("EVAL", "EVALSHA") and len(command) > 3 else 1
    return str(command[place]) if len(command) > place else ""


class ClusterReads:
    """Round trips to single nodes of a cluster, over redis-py's asyncio cluster client."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._layout_read_at_s = float("-inf")
        self._layout_task: asyncio.Task[None] | None = None

    def node_of(self, key: str) -> str:
        """Return the name of the primary that has the key; empty until the layout is known."""
        nodes = self._client.nodes_manager.slots_cache.get(self._client.keyslot(key))
        return nodes[0].name if nodes else ""

    def is_node(self, name: str) -> bool:
        """Whether it is a primary of the present layout."""
        primaries = {node.name for node in self._client.get_primaries()}
        return name in primaries if primaries else name == ""

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """Return the reply of each command; a failed one gives its exception."""
        if not self._client.nodes_manager.slots_cache:
            await self._client.initialize()
        places: dict[str, list[int]] = defaultdict(list)
        for place, command in enumerate(commands):
            places[self.node_of(key_of(command))].append(place)
        groups = await asyncio.gather(*(self._run_on(name, commands, own) for name, own in places.items()))
        replies: list[Any] = [None] * len(commands)
        for own, group in zip(places.values(), groups, strict=True):
            for place, reply in zip(own, group, strict=True):
                replies[place] = reply
        return replies

    async def _run_on(self, name: str, commands: Sequence[Command], places: Sequence[int]) -> list[Any]:
        node = self._client.nodes_manager.get_node(node_name=name)
        if node is None:  # the layout has changed since
            return [await self._run_redirected(commands[place]) for place in places]
        queued = [PipelineCommand(number, *commands[place]) for number, place in enumerate(places)]
        try:
            await _execute(node, queued)
        except (RedisError, OSError, TimeoutError) as error:
            self._read_layout_soon(name)
            return [error] * len(queued)
        except asyncio.CancelledError:  # the caller's timeout
            self._read_layout_soon(name)
            raise
        replies = []
        for command in queued:
            reply = command.result
            if isinstance(reply, _REDIRECTIONS):
                reply = await self._run_redirected(command.args)
            elif isinstance(reply, ClusterDownError | OSError | TimeoutError):
                self._read_layout_soon(name)
            replies.append(reply)
        return replies

    async def _run_redirected(self, command: Command) -> Any:
        try:
            return await self._client.execute_command(*command)
        except (RedisError, OSError, TimeoutError) as error:
            return error

    def _read_layout_soon(self, failed: str) -> None:
        """Read the layout in the background, at most once a second: a replica may have taken the node's place."""
        now_s = time.monotonic()
        if now_s - self._layout_read_at_s < _LAYOUT_INTERVAL_S or self._layout_task is not None:
            return
        self._layout_read_at_s = now_s
        self._layout_task = asyncio.get_running_loop().create_task(self._read_layout(failed))

    async def _read_layout(self, failed: str) -> None:
        try:
            await self._client.nodes_manager.initialize(last_failed_node_name=failed)
        except (RedisError, OSError, TimeoutError) as error:
            logger.warning("the layout of the Redis Cluster could not be read", extra={"reason": str(error)})
        finally:
            self._layout_task = None

    async def close(self) -> None:
        """End the background task."""
        if self._layout_task is not None:
            self._layout_task.cancel()
            await asyncio.wait([self._layout_task])


async def _execute(node: Any, queued: list[PipelineCommand]) -> None:
    """Run commands on a node, once more if the connection was lost: the next one is another."""
    try:
        await node.execute_pipeline(queued)
        lost = isinstance(queued[0].result, ConnectionError)
    except ConnectionError:
        lost = True
    if lost:
        await node.execute_pipeline(queued)
