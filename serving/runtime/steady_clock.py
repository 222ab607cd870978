"""The time of day, steady: a jump of the machine's clock is followed only once it has lasted.

Event times order a history and bound an erasure. A clock that leaps ahead for a minute (a bad time server, a restored
virtual machine) would put that minute's events in front of all that come in the next year, and one that falls back
would put new events behind old ones.
"""

import logging
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

TOLERANCE_S = 5.0
# A time server that corrects a clock that was wrong at boot is right for good; by then it is believed.
BELIEVED_AFTER_S = 300.0


class SteadyClock:
    """Seconds since 1970 by the monotonic clock, led by the machine's time of day while that does not jump."""

    def __init__(
        self,
        jumped: Callable[[], None] = lambda: None,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._jumped = jumped
        self._wall = wall
        self._monotonic = monotonic
        self._offset_s = wall() - monotonic()
        self._doubted: tuple[float, float] | None = None  # the new offset, and since when it is seen

    def __call__(self) -> float:
        """Now, in seconds since 1970."""
        now_s = self._monotonic()
        offset_s = self._wall() - now_s
        if abs(offset_s - self._offset_s) <= TOLERANCE_S:
            self._offset_s, self._doubted = offset_s, None
        elif self._doubted is None or abs(offset_s - self._doubted[0]) > TOLERANCE_S:
            self._doubted = (offset_s, now_s)
            self._jumped()
            logger.warning("the clock jumped", extra={"by_s": round(offset_s - self._offset_s)})
        elif now_s - self._doubted[1] >= BELIEVED_AFTER_S:
            self._offset_s, self._doubted = offset_s, None
        return now_s + self._offset_s
