"""Locks of merges in Redis: two merges that share an owner follow one another.

A merge copies and then deletes, and in a cluster the two histories are on two nodes. Without a lock, a merge of a into
b and one of b into a would each delete what the other had relied on. A lock expires, so that a killed process does
not block others for long; deletion therefore checks, on the history's own node, that the lock is still held.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from retort.shared.base.errors import StoreError
from retort.shared.history import keys
from retort.shared.history.store import Owner

LOCK_MS = 10_000
WAIT_S = 3.0
_POLL_S = 0.01
_MEMBERS_AT_ONCE = 1000

_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 0"
_REMOVE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
return redis.call('ZREM', KEYS[2], unpack(ARGV, 2))
"""


@asynccontextmanager
async def merge_locks(client: Any, *owners: Owner) -> AsyncIterator[str]:
    """Hold the locks of the owners during the block and return their token.

    Raises:
        StoreError: Another merge of one of the owners holds its lock for too long.
    """
    token, held = uuid4().hex, []
    try:
        # Always in the same order, so that two merges cannot wait for each other.
        for key in sorted(keys.merge_lock(owner.key) for owner in owners):
            held.append(key)
            await _acquire(client, key, token)
        yield token
    finally:
        for key in held:
            with suppress(RedisError, OSError, TimeoutError):  # it expires
                await client.eval(_RELEASE, 1, key, token)


@asynccontextmanager
async def lock_if_possible(client: Any, owner: Owner) -> AsyncIterator[None]:
    """Hold the lock of one owner during the block; without it if the memory is full, when no merge can write either.

    Raises:
        StoreError: A merge of the owner holds its lock for too long.
    """
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(merge_locks(client, owner))
        except ResponseError as error:
            if not isinstance(error, OutOfMemoryError) and "OOM" not in str(error):
                raise
        yield


async def _acquire(client: Any, key: str, token: str) -> None:
    give_up_at_s = time.monotonic() + WAIT_S
    while not await client.set(key, token, nx=True, px=LOCK_MS):
        if time.monotonic() > give_up_at_s:
            raise StoreError("another merge of this user is still running; send the merge again in a few seconds.")
        await asyncio.sleep(_POLL_S * (1 + random.random()))


async def remove_members(client: Any, owner: Owner, members: Sequence[str], token: str) -> None:
    """Delete members of a history while its merge lock is still held.

    Raises:
        StoreError: The lock has expired; nothing more is deleted.
    """
    for start in range(0, len(members), _MEMBERS_AT_ONCE):
        chunk = members[start : start + _MEMBERS_AT_ONCE]
        if await client.eval(_REMOVE, 2, keys.merge_lock(owner.key), owner.key, token, *chunk) == -1:
            raise StoreError("the merge took too long and was not finished; send it again, nothing is lost.")
