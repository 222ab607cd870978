"""Buffer of exposures, which are kept in memory and written to the stream in batches, in the background.

No response waits for a write. While Redis is down the newest exposures are kept up to a limit; older ones are dropped
and counted.
"""

import asyncio
import logging
from collections import deque

from retort.serving.runtime.metrics import Metrics
from retort.shared.base.errors import StoreError
from retort.shared.events.exposures import Exposure, ExposureWriter

logger = logging.getLogger(__name__)

WRITE_INTERVAL_S = 1.0
BATCH = 100
MAX_WAITING = 20_000
_BATCHES_PER_WRITE = 20
_LAST_WRITE_TIMEOUT_S = 1.0


class ExposureBuffer:
    """Exposures that are not on the stream yet. Without a writer (no Redis) nothing is kept."""

    def __init__(self, writer: ExposureWriter | None, metrics: Metrics) -> None:
        self._writer = writer
        self._metrics = metrics
        self._waiting: deque[Exposure] = deque()
        self._failure_logged = False

    def add(self, exposure: Exposure) -> None:
        """Buffer an exposure; never waits and never fails."""
        if self._writer is None:
            return
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            self._metrics.exposures_written.labels("dropped").inc()
        self._waiting.append(exposure)

    async def run(self) -> None:
        """Write at regular intervals until cancelled."""
        while True:
            await asyncio.sleep(WRITE_INTERVAL_S)
            try:
                await self.write()
            except Exception:  # a writer that stopped would drop all later exposures
                logger.exception("exposures could not be written")

    async def write(self) -> None:
        """Write the buffered exposures; those that cannot be written stay in the buffer."""
        while self._writer is not None and self._waiting:
            taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH * _BATCHES_PER_WRITE))]
            try:
                await self._writer.add([taken[start : start + BATCH] for start in range(0, len(taken), BATCH)])
            except StoreError as error:
                self._waiting.extendleft(reversed(taken))
                self._metrics.store_failures.labels("exposures").inc()
                if not self._failure_logged:  # once, not every second
                    logger.warning("exposures wait in memory", extra={"reason": str(error)})
                self._failure_logged = True
                return
            except BaseException:
                # They may be on the stream already; the table keeps each of them once.
                self._waiting.extendleft(reversed(taken))
                raise
            self._failure_logged = False
            self._metrics.exposures_written.labels("written").inc(len(taken))

    async def finish(self) -> None:
        """Write once more; used at shutdown."""
        try:
            async with asyncio.timeout(_LAST_WRITE_TIMEOUT_S):
                await self.write()
        except TimeoutError:
            pass
        if self._waiting:
            self._metrics.exposures_written.labels("dropped").inc(len(self._waiting))
            logger.warning("exposures are lost", extra={"count": len(self._waiting)})
