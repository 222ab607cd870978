"""Requests to and responses of an OpenAI-compatible server, well-formed or not."""

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from retort.offline.common.section import Section
from retort.offline.profiles.backends._base import Prompt, Reply, Sampling, fold_system_message, sampling_seed
from retort.shared.base.text import load_json

if TYPE_CHECKING:
    import httpx

# What servers call the end of a reply at its longest length, and by a filter, in lower case.
_CUT = frozenset({"length", "max_tokens", "model_length", "max_output_tokens", "token_limit", "context_length"})
_FILTERED = frozenset({"content_filter", "safety", "recitation", "prohibited_content", "blocklist", "spii"})
SAMPLING_OPTIONS = ("top_p", "top_k", "presence_penalty", "frequency_penalty", "repetition_penalty")
TEXT_OPTIONS = (*SAMPLING_OPTIONS, "extra_body", "omit")  # decide the texts, so they are part of their key


class NoReplyError(Exception):
    """No usable reply; another attempt may succeed, after `retry_after_s` seconds at the earliest."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class PromptRefusedError(Exception):
    """The server rejects this prompt; another attempt is useless."""


class RequestOptions(Section):
    """Options of the body of a request, for servers and for batch files."""

    limit_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens", description="the server's field for the longest reply"
    )
    system_role: Literal["system", "user"] = Field(
        "system",
        description="user: the system text is part of the user's message, for models without that role (Gemma)",
    )
    top_p: float | None = Field(None, gt=0, le=1, description="nucleus sampling; unset: the server's default")
    top_k: int | None = Field(None, ge=-1, description="most likely tokens to sample from; vLLM, llama.cpp, Ollama")
    presence_penalty: float | None = Field(None, ge=-2, le=2, description="penalty of tokens that occurred")
    frequency_penalty: float | None = Field(None, ge=-2, le=2, description="penalty of tokens by their frequency")
    repetition_penalty: float | None = Field(None, gt=0, le=2, description="penalty of repeated tokens; vLLM")
    extra_body: dict[str, Any] = Field(
        default_factory=dict, description="further fields of each request; they replace those of the same name"
    )
    omit: tuple[str, ...] = Field(
        (), description='fields that each request leaves out, for hosts that refuse them, such as "seed"'
    )


def request_body(
    prompt: Prompt,
    model: str,
    sampling: Sampling,
    options: RequestOptions | None = None,
    *,
    max_lengths: bool = False,
) -> dict[str, Any]:
    """Build the body of a chat completion request.

    Args:
        max_lengths: Whether strings of the JSON schema keep their `maxLength`, which some hosts refuse.
    """
    options = options or RequestOptions()
    body: dict[str, Any] = {
        "model": model,
        "messages": fold_system_message(prompt.messages) if options.system_role == "user" else list(prompt.messages),
        "temperature": sampling.temperature,
        "seed": sampling_seed(sampling, prompt),
        options.limit_field: sampling.max_output_tokens,
    }
    body |= {name: value for name in SAMPLING_OPTIONS if (value := getattr(options, name)) is not None}
    if prompt.schema is not None:
        schema = {"name": "profile", "schema": prompt.schema, "strict": True}
        if not max_lengths:
            schema["schema"] = without_max_lengths(prompt.schema)
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return {name: value for name, value in {**body, **options.extra_body}.items() if name not in options.omit}


def without_max_lengths(schema: Any) -> Any:
    """Return a JSON schema without `maxLength` of strings."""
    if isinstance(schema, list):
        return [without_max_lengths(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: without_max_lengths(value)
        for key, value in schema.items()
        if key != "maxLength" or not isinstance(value, int)  # a property may have this name
    }


def parse_response(response: "httpx.Response") -> Reply:
    """Parse a 2xx response.

    Raises:
        NoReplyError: The body is cut or has another form.
    """
    try:
        body = load_json(response.content)
    except ValueError:
        body = None
    return parse_completion(body, response.text)


def parse_completion(body: Any, raw: str) -> Reply:
    """Parse a decoded body; `raw` is quoted in the error."""
    try:
        choice = body["choices"][0]
        message, finish = choice["message"], choice.get("finish_reason")
        text, refusal = _content(message.get("content")), message.get("refusal")
        thoughts = message.get("reasoning_content") or message.get("reasoning")
        finish = str(finish or "").lower()
        usage = _usage(body.get("usage"))
    except (KeyError, IndexError, TypeError, AttributeError):
        raise NoReplyError(f"a response that is not a chat completion: {raw[:120]!r}") from None
    if refusal or finish in _FILTERED:
        return replace(usage, error=f"a refusal ({refusal or 'content filter'})")
    if finish in _CUT:
        return replace(usage, text=text, error="cut off at max_output_tokens")
    if not text and thoughts:
        return replace(usage, error="only thoughts and no answer (raise max_output_tokens or turn its reasoning off)")
    return replace(usage, text=text)


def _content(stated: Any) -> str:
    """The text of a message; of a list of parts, as Mistral's reasoning models send it, those that are text."""
    if isinstance(stated, list):
        parts = [part.get("text") for part in stated if isinstance(part, dict) and part.get("type") == "text"]
        return "".join(part for part in parts if isinstance(part, str))
    return stated if isinstance(stated, str) else ""


def _usage(stated: Any) -> Reply:
    """An empty reply with the token counts of a response's `usage`; None where it states none or zero.

    Prompt tokens from the server's cache: `prompt_tokens_details.cached_tokens` (OpenAI, vLLM, llama.cpp),
    `prompt_cache_hit_tokens` (DeepSeek), `cached_tokens` (Moonshot), `cache_read_input_tokens` (Anthropic's layer).
    """
    usage = stated if isinstance(stated, dict) else {}
    details = usage.get("prompt_tokens_details")
    found = [details.get("cached_tokens") if isinstance(details, dict) else None]
    found += [usage.get(name) for name in ("prompt_cache_hit_tokens", "cached_tokens", "cache_read_input_tokens")]
    # a prompt has tokens, and so has a text: some servers state 0 for what they do not count
    prompt, completion = (_count(usage.get(name)) or None for name in ("prompt_tokens", "completion_tokens"))
    cached = next((n for n in map(_count, found) if n is not None), None)
    if cached is not None and prompt is not None:
        cached = min(cached, prompt)
    return Reply("", prompt, completion, cached_tokens=cached)


def _count(value: Any) -> int | None:
    """A token count of a server, which may send anything."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
    return int(value) if number else None
