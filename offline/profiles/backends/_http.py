"""Reading what an OpenAI-compatible server answers, the well-formed and the other."""

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from retort.offline.profiles.backends._base import Prompt, Reply, Sampling


class NoReplyError(Exception):
    """Worth another attempt, in `retry_after_s` at the earliest."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class PromptRefusedError(Exception):
    """This prompt will not be answered."""


def request_body(prompt: Prompt, model: str, sampling: Sampling, limit_field: str = "max_tokens") -> dict[str, Any]:
    """A chat completion as every OpenAI-compatible server reads it."""
    body: dict[str, Any] = {
        "model": model,
        "messages": list(prompt.messages),
        "temperature": sampling.temperature,
        "seed": sampling.seed + prompt.attempt,
        limit_field: sampling.max_output_tokens,
    }
    if prompt.schema is not None:
        schema = {"name": "profile", "schema": prompt.schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def parse_response(response: httpx.Response) -> Reply:
    """The text of a 2xx answer. Raises Unanswered where the body is cut or of another form."""
    try:
        body = response.json()
    except ValueError:
        body = None
    return parse_completion(body, response.text)


def parse_completion(body: Any, said: str) -> Reply:
    """The same of a body that is read already; `said` is quoted where it is not what was promised."""
    try:
        choice = body["choices"][0]
        message, finish = choice["message"], choice.get("finish_reason")
        text, refusal = message.get("content"), message.get("refusal")
        usage = body.get("usage") or {}
        tokens = usage.get("prompt_tokens"), usage.get("completion_tokens")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise NoReplyError(f"an answer that is not what was promised: {said[:120]!r}") from None
    if refusal or finish == "content_filter":
        return Reply("", *tokens, error=f"a refusal ({refusal or 'content filter'})")
    if finish == "length":
        return Reply(text or "", *tokens, error="cut off at max_output_tokens")
    return Reply(text if isinstance(text, str) else "", *tokens)


def error_text(response: httpx.Response) -> str:
    """What the server says went wrong, on one line."""
    try:
        body = response.json()
    except ValueError:
        body = response.text
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        error = " ".join(str(error[key]) for key in ("message", "code") if error.get(key))
    return " ".join(str(error).split())[:200] or response.reason_phrase


def retry_after_s(response: httpx.Response) -> float | None:
    """The header in seconds, whether it says seconds or a date."""
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
