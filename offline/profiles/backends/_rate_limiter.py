"""Keeping to the rate that a server states, so that it need not refuse.

Headers: https://platform.openai.com/docs/guides/rate-limits (x-ratelimit-remaining-*, x-ratelimit-reset-*), and
Retry-After, which holds for all requests and not only for the one that was refused.
"""

import asyncio
import re
import time

import httpx

from retort.offline.profiles.backends._http import retry_after_s

_KINDS = "requests", "tokens"
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


class RateLimiter:
    """Shared by all requests of one batch; max_wait_s bounds what a server may ask for."""

    def __init__(self, max_wait_s: float) -> None:
        self._max_wait_s = max_wait_s
        self._not_before_s = 0.0

    async def wait(self) -> None:
        """Until the server has room again."""
        while (left_s := self._not_before_s - time.monotonic()) > 0:
            await asyncio.sleep(left_s)

    def read(self, response: httpx.Response) -> None:
        """Learn from an answer, good or bad."""
        asked = [retry_after_s(response) if response.status_code in (429, 503) else None]
        for kind in _KINDS:
            if _number(response.headers.get(f"x-ratelimit-remaining-{kind}")) == 0:
                asked.append(parse_duration_s(response.headers.get(f"x-ratelimit-reset-{kind}", "")))
        longest_s = max((one for one in asked if one is not None), default=0.0)
        if longest_s > 0:
            self._not_before_s = max(self._not_before_s, time.monotonic() + min(longest_s, self._max_wait_s))


def parse_duration_s(text: str) -> float | None:
    """`1s`, `6m0s`, `20ms` or a plain number, in seconds; None for anything else."""
    parts = _PART.findall(text.strip())
    if parts and "".join(number + unit for number, unit in parts) == text.strip():
        return sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    return _number(text)


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
