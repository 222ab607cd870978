"""What a server states about a failed request: its words, and when to try again."""

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from retort.shared.base.text import clean_text, load_json

if TYPE_CHECKING:
    import httpx

# Too many requests, a busy or restarting server: a later attempt may succeed.
RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})


def error_text(response: "httpx.Response") -> str:
    """Return the server's error message on one line."""
    try:
        body = load_json(response.content)
    except ValueError:
        body = response.text
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        error = " ".join(str(error[key]) for key in ("message", "code") if error.get(key))
    return " ".join(clean_text(str(error)).split())[:200] or response.reason_phrase


def retry_after_s(response: "httpx.Response") -> float | None:
    """Return the Retry-After header, a number or a date, in seconds; None where it is missing or invalid."""
    value = response.headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
