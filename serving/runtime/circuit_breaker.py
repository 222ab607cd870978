"""Circuit breaker: after several failures in a row, calls to a store stop for a while."""

import time
from collections.abc import Callable


class CircuitBreaker:
    """Circuit breaker with the states closed (calls go through), open (calls are refused) and half-open (one trial).

    Args:
        failures: Failures in a row that open the breaker.
        rest_s: Seconds for which it stays open before a trial call.
    """

    def __init__(self, failures: int, rest_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = failures
        self._rest_s = rest_s
        self._clock = clock
        self._failures = 0
        self._trial_from_s = 0.0

    @property
    def is_tripped(self) -> bool:
        """True from the failure that opens the breaker until the next success; reading it changes nothing."""
        return self._failures >= self._limit

    def try_acquire(self) -> bool:
        """Return whether the caller may call the store.

        After the rest this consumes the trial call: one caller gets True, the others wait for another `rest_s`.
        """
        if self._failures < self._limit:
            return True
        now_s = self._clock()
        if now_s < self._trial_from_s:
            return False
        self._trial_from_s = now_s + self._rest_s
        return True

    def record_success(self) -> None:
        """Close the breaker."""
        self._failures = 0

    def record_failure(self) -> None:
        """Count a failure; at the limit the breaker opens."""
        self._failures += 1
        if self._failures >= self._limit:
            self._trial_from_s = self._clock() + self._rest_s
