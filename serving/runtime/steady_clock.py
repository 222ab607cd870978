"""Wall clock without jumps: a jump of the system clock is followed only after it has lasted for some minutes.

Event times order a history and limit an erasure. A clock that jumps ahead by a year for a minute (a faulty time server,
a restored virtual machine) would place that minute's events after all events of that year. A clock that jumps back
would place new events before old ones.
"""

import logging
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

TOLERANCE_S = 5.0
# A time server that corrects a clock that was wrong at boot is right; its correction lasts, so it is accepted.
ACCEPT_AFTER_S = 300.0


class SteadyClock:
    """Seconds since 1970, from the monotonic clock plus an offset that follows the system clock while it is steady.

    Args:
        on_jump: Called once for each jump.
    """

    def __init__(
        self,
        on_jump: Callable[[], None] = lambda: None,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_jump = on_jump
        self._wall = wall
        self._monotonic = monotonic
        self._offset_s = wall() - monotonic()
        self._candidate: tuple[float, float] | None = None  # (new offset, time since which it is seen)

    def __call__(self) -> float:
        """Return the current time in seconds since 1970."""
        now_s = self._monotonic()
        offset_s = self._wall() - now_s
        if abs(offset_s - self._offset_s) <= TOLERANCE_S:
            self._offset_s, self._candidate = offset_s, None
        elif self._candidate is None or abs(offset_s - self._candidate[0]) > TOLERANCE_S:
            self._candidate = (offset_s, now_s)
            self._on_jump()
            logger.warning("the system clock jumped", extra={"by_s": round(offset_s - self._offset_s)})
        elif now_s - self._candidate[1] >= ACCEPT_AFTER_S:
            self._offset_s, self._candidate = offset_s, None
        return now_s + self._offset_s
