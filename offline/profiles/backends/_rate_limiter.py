"""Rate limiter: waits as the server's headers state, so that it need not reject requests.

Headers: https://platform.openai.com/docs/guides/rate-limits (x-ratelimit-remaining-*, x-ratelimit-reset-*), and
Retry-After, which applies to all requests and not only to the rejected one.
"""

import asyncio
import re
import time

import httpx

from retort.offline.common.http_errors import retry_after_s

_KINDS = "requests", "tokens"
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


class RateLimiter:
    """Rate limiter shared by all requests of a batch."""

    def __init__(self, max_wait_s: float) -> None:
        """Create a limiter.

        Args:
            max_wait_s: Longest wait that a server may demand, in seconds.
        """
        self._max_wait_s = max_wait_s
        self._not_before_s = 0.0

    async def wait(self) -> None:
        """Wait until the server accepts requests again."""
        while (left_s := self._not_before_s - time.monotonic()) > 0:
            await asyncio.sleep(left_s)

    def read(self, response: httpx.Response) -> None:
        """Update the waiting time from a response, successful or not."""
        waits_s = [retry_after_s(response) if response.status_code in (429, 503) else None]
        for kind in _KINDS:
            if _number(response.headers.get(f"x-ratelimit-remaining-{kind}")) == 0:
                waits_s.append(parse_duration_s(response.headers.get(f"x-ratelimit-reset-{kind}", "")))
        longest_s = max((wait_s for wait_s in waits_s if wait_s is not None), default=0.0)
        if longest_s > 0:
            self._not_before_s = max(self._not_before_s, time.monotonic() + min(longest_s, self._max_wait_s))


def parse_duration_s(text: str) -> float | None:
    """Parse `1s`, `6m0s`, `20ms` or a plain number into seconds; None for anything else."""
    parts = _PART.findall(text.strip())
    if parts and "".join(number + unit for number, unit in parts) == text.strip():
        return sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    return _number(text)


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
