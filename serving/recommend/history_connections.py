"""Connections to the history store that are opened before the server is ready.

The first command on a connection pays for the name's lookup, the connection and the handshake. On a machine that is
busy with starting servers this takes longer than the timeout of a read, and the first callers would be answered without
their histories.
"""

import asyncio
import logging

from retort.shared.base.errors import StoreError
from retort.shared.history.redis_history import RedisHistory
from retort.shared.history.store import HistoryStore, Owner

logger = logging.getLogger(__name__)

_ATTEMPTS = 3
_PAUSE_S = 0.1
_LIMIT_S = 5.0
_BATCHES = 2  # that read at the same time; see HistoryReader
# Nobody's names, so many that they lie on all nodes of a cluster.
_NOBODY = [Owner(f"\x1fnobody{number}") for number in range(64)]


async def open_connections(store: HistoryStore) -> bool:
    """Open the connections to Redis; return whether it answered. One that is down delays the start by seconds only."""
    if not isinstance(store, RedisHistory):
        return True
    reason = "it did not answer in time"
    try:
        async with asyncio.timeout(_LIMIT_S):
            for attempt in range(_ATTEMPTS):
                await asyncio.sleep(_PAUSE_S * attempt)
                results = await asyncio.gather(
                    *(store.recent(_NOBODY, 1) for _ in range(_BATCHES)), return_exceptions=True
                )
                failures = [result for result in results if isinstance(result, BaseException)]
                if not failures:
                    return True
                if unknown := [failure for failure in failures if not isinstance(failure, StoreError)]:
                    raise unknown[0]
                reason = str(failures[0])
    except TimeoutError:
        pass
    logger.warning("histories are not available at the start", extra={"reason": reason})
    return False
