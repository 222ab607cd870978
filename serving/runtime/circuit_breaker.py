"""A circuit breaker: after some failures in a row, leave the store alone for a while."""

import time
from collections.abc import Callable


class Breaker:
    """Closed: calls go through. Open: they do not. After the rest one call is let through to try."""

    def __init__(self, failures: int, rest_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = failures
        self._rest_s = rest_s
        self._clock = clock
        self._failures = 0
        self._closed_from_s = 0.0

    @property
    def tripped(self) -> bool:
        """True from the last failure of the row until the next success; asking changes nothing."""
        return self._failures >= self._limit

    @property
    def is_open(self) -> bool:
        """True while calls are refused; the first caller after the rest finds it closed and is the trial."""
        if self._failures < self._limit:
            return False
        now_s = self._clock()
        if now_s < self._closed_from_s:
            return True
        self._closed_from_s = now_s + self._rest_s
        return False

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self) -> None:
        self._failures += 1
        if self._failures >= self._limit:
            self._closed_from_s = self._clock() + self._rest_s
