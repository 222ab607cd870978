"""Exposures on their way to the stream: kept in memory for a moment and written in batches, beside the requests.

No answer waits for it. While Redis is away the newest are kept up to a bound and the oldest are dropped and counted.
"""

import asyncio
import logging
from collections import deque

from retort.serving.runtime.metrics import Metrics
from retort.shared.base.errors import StoreError
from retort.shared.events.exposures import Exposure, ExposureWriter

logger = logging.getLogger(__name__)

WRITE_EVERY_S = 1.0
BATCH = 100
MAX_WAITING = 20_000
_BATCHES_AT_ONCE = 20
_LAST_TRY_S = 1.0


class ExposureLog:
    """What was shown and is not on the stream yet. Without a writer (no Redis) nothing is kept."""

    def __init__(self, writer: ExposureWriter | None, metrics: Metrics) -> None:
        self._writer = writer
        self._metrics = metrics
        self._waiting: deque[Exposure] = deque()
        self._told = False

    def add(self, exposure: Exposure) -> None:
        """Keep one until the next writing; never waits, never fails."""
        if self._writer is None:
            return
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            self._metrics.exposures_written.labels("dropped").inc()
        self._waiting.append(exposure)

    async def run(self) -> None:
        """Write again and again, until cancelled."""
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            try:
                await self.write()
            except Exception:  # a writer that died would drop all that is shown from then on
                logger.exception("exposures could not be written")

    async def write(self) -> None:
        """Put on the stream what waits; what cannot be written now waits on."""
        while self._writer is not None and self._waiting:
            taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH * _BATCHES_AT_ONCE))]
            try:
                await self._writer.add([taken[start : start + BATCH] for start in range(0, len(taken), BATCH)])
            except StoreError as error:
                self._waiting.extendleft(reversed(taken))
                self._metrics.store_failures.labels("exposures").inc()
                if not self._told:  # once, not every second
                    logger.warning("exposures wait in memory", extra={"reason": str(error)})
                self._told = True
                return
            except BaseException:
                # Perhaps they are on the stream already; the table keeps each once.
                self._waiting.extendleft(reversed(taken))
                raise
            self._told = False
            self._metrics.exposures_written.labels("written").inc(len(taken))

    async def finish(self) -> None:
        """The last writing; used on the way out."""
        try:
            async with asyncio.timeout(_LAST_TRY_S):
                await self.write()
        except TimeoutError:
            pass
        if self._waiting:
            self._metrics.exposures_written.labels("dropped").inc(len(self._waiting))
            logger.warning("exposures are lost", extra={"count": len(self._waiting)})
