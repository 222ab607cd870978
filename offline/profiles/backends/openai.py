"""Any server that speaks OpenAI's chat completions: vllm serve, Ollama, llama.cpp, hosted ones.

API: https://platform.openai.com/docs/api-reference/chat
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import httpx
from pydantic import Field

from retort.offline.common.section import Section
from retort.offline.profiles.backends._base import Message, OnReplies, Prompt, Reply, Sampling
from retort.offline.profiles.backends._http import (
    NoReplyError,
    PromptRefusedError,
    error_text,
    parse_response,
    request_body,
    retry_after_s,
)
from retort.offline.profiles.backends._rate_limiter import RateLimiter
from retort.offline.profiles.backends._tokens import TokenCounter, estimate_tokens, load_token_counter
from retort.shared.base.errors import ProfileError
from retort.shared.base.settings import LanguageModelSettings

SERVED = True
DEFAULT_URL = "https://api.openai.com/v1"
_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})


class Config(Section):
    """`[profiles.options]` of the openai backend."""

    model: str | None = Field(None, description="name the server knows; unset: the only one it offers")
    context_tokens: int = Field(8192, ge=64, description="prompt and answer together")
    tokenizer: str | None = Field(
        None, description="hub name or folder for exact counts; 'server': ask /tokenize (vLLM); unset: careful estimate"
    )
    concurrency: int = Field(8, ge=1, le=1024, description="requests in flight")
    timeout_s: float = Field(120.0, gt=0, description="for one answer")
    retries: int = Field(5, ge=0, description="further attempts after 429, 5xx, a timeout or a cut answer")
    backoff_s: float = Field(1.0, ge=0, description="first wait; doubles each time, with jitter")
    max_wait_s: float = Field(60.0, gt=0, description="longest wait between two attempts, Retry-After included")
    limit_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens", description="how the server calls the longest reply"
    )


def open_backend(config: Config, sampling: Sampling, settings: LanguageModelSettings) -> "OpenAiBackend":
    """Asks the server for its models where the recipe names none."""
    key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else None
    server = Server((settings.openai_base_url or DEFAULT_URL).rstrip("/"), key)
    return OpenAiBackend(server, config.model or _only_model(server, config.timeout_s), config, sampling)


@dataclass(frozen=True)
class Server:
    """Where the model answers; the key is never printed."""

    url: str
    key: str | None

    @property
    def headers(self) -> dict[str, str]:
        """Authorization, if a key is known."""
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def __repr__(self) -> str:
        return f"Server({self.url})"


class OpenAiBackend:
    """Many requests at once, each retried alone."""

    def __init__(self, server: Server, model: str, config: Config, sampling: Sampling) -> None:
        self._server, self._model, self._config, self._sampling = server, model, config, sampling
        self._count = _counter(server, model, config)

    @property
    def model(self) -> str:
        """The server's name for it."""
        return self._model

    @property
    def context_tokens(self) -> int:
        """As the recipe says: the protocol has no way to ask."""
        return self._config.context_tokens

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Exact with a tokenizer, else an estimate that is rather too high."""
        return self._count(messages)

    def write(self, prompts: Sequence[Prompt], on_replies: OnReplies) -> list[Reply]:
        """Each reply is handed on the moment it is there; a reply that never came says why."""
        return asyncio.run(self._write(prompts, on_replies))

    def close(self) -> None:
        """Connections live only as long as one call of `write`."""

    async def _write(self, prompts: Sequence[Prompt], on_replies: OnReplies) -> list[Reply]:
        replies: list[Reply | None] = [None] * len(prompts)
        gate, limiter = asyncio.Semaphore(self._config.concurrency), RateLimiter(self._config.max_wait_s)
        async with httpx.AsyncClient(headers=self._server.headers, timeout=self._config.timeout_s) as client:
            tasks = [
                asyncio.create_task(self._one(client, gate, limiter, at, prompt)) for at, prompt in enumerate(prompts)
            ]
            try:
                for task in asyncio.as_completed(tasks):
                    at, replies[at] = ready = await task
                    on_replies([ready])
            finally:
                for one in tasks:
                    one.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        return [reply for reply in replies if reply is not None]

    async def _one(
        self, client: httpx.AsyncClient, gate: asyncio.Semaphore, limiter: RateLimiter, at: int, prompt: Prompt
    ) -> tuple[int, Reply]:
        async with gate:
            reason = "no answer"
            for attempt in range(self._config.retries + 1):
                try:
                    return at, await self._ask(client, prompt, limiter)
                except PromptRefusedError as refused:
                    return at, Reply("", error=str(refused), final=True)
                except NoReplyError as unanswered:
                    reason = str(unanswered)
                    if attempt < self._config.retries:
                        await asyncio.sleep(self._wait_s(attempt, unanswered.retry_after_s))
            told = f"{reason} (after {self._config.retries + 1} attempts)"
            return at, Reply("", error=told, final=True, unanswered=True)

    def _wait_s(self, attempt: int, asked_s: float | None) -> float:
        """What the server asks for, never less; jitter keeps the requests from coming back all at once."""
        wait_s = self._config.backoff_s * 2.0**attempt * random.uniform(0.5, 1.0)
        return min(max(wait_s, asked_s or 0.0), self._config.max_wait_s)

    async def _ask(self, client: httpx.AsyncClient, prompt: Prompt, limiter: RateLimiter) -> Reply:
        body = request_body(prompt, self._model, self._sampling, self._config.limit_field)
        await limiter.wait()
        try:
            response = await client.post(f"{self._server.url}/chat/completions", json=body)
        except httpx.TimeoutException:
            raise NoReplyError(f"no answer within {self._config.timeout_s:g} s") from None
        except httpx.InvalidURL:
            raise ProfileError(f"OPENAI_BASE_URL {self._server.url!r} is no address.") from None
        except httpx.HTTPError as error:
            raise NoReplyError(f"{self._server.url} cannot be reached ({error})") from None
        limiter.read(response)
        _raise_for(response, self._server, self._model)
        return parse_response(response)


def _raise_for(response: httpx.Response, server: Server, model: str) -> None:
    """Sort an answer's status: good, worth another try, hopeless for this prompt, hopeless for all."""
    status = response.status_code
    if status < 300:
        return
    said = error_text(response)
    if status in (401, 403):
        raise ProfileError(
            f"{server.url} refuses the key ({status}): set OPENAI_API_KEY to one that may use {model!r}."
        )
    if status in (404, 405) or 300 <= status < 400:
        raise ProfileError(
            f"{server.url} has no chat completions for the model {model!r} ({status}: {said}); "
            "check OPENAI_BASE_URL (it usually ends in /v1) and [profiles.options] model."
        )
    if status == 402 or "insufficient_quota" in said:
        raise ProfileError(f"{server.url} says that nothing is left to spend ({said}); top it up, then run again.")
    if status in _RETRIED:
        raise NoReplyError(f"{status}: {said}", retry_after_s(response))
    raise PromptRefusedError(f"the server refused the prompt ({status}: {said})")


def _only_model(server: Server, timeout_s: float) -> str:
    try:
        response = httpx.get(f"{server.url}/models", headers=server.headers, timeout=timeout_s)
        _raise_for(response, server, "(any)")
        names = [str(one["id"]) for one in response.json()["data"]]
    except (
        httpx.HTTPError,
        httpx.InvalidURL,
        NoReplyError,
        PromptRefusedError,
        KeyError,
        TypeError,
        ValueError,
    ) as error:
        raise ProfileError(
            f"{server.url}/models did not say which model to use ({error}); name it in [profiles.options] model."
        ) from None
    if len(names) != 1:
        raise ProfileError(
            f"{server.url} offers {len(names)} models ({', '.join(names[:5])}); name one in [profiles.options] model."
        )
    return names[0]


def _counter(server: Server, model: str, config: Config) -> TokenCounter:
    if config.tokenizer is None:
        return estimate_tokens
    if config.tokenizer != "server":
        return load_token_counter(config.tokenizer)
    root = server.url.removesuffix("/v1")

    def ask_server(messages: Sequence[Message]) -> int:
        try:
            response = httpx.post(
                f"{root}/tokenize",
                json={"model": model, "messages": list(messages), "add_generation_prompt": True},
                headers=server.headers,
                timeout=config.timeout_s,
            )
            response.raise_for_status()
            return int(response.json()["count"])
        except (httpx.HTTPError, KeyError, TypeError, ValueError) as error:
            raise ProfileError(
                f"{root}/tokenize did not count the prompt's tokens ({error}); "
                "set [profiles.options] tokenizer to the model's hub name or folder."
            ) from None

    return ask_server
