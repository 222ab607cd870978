"""Backend for servers with OpenAI's chat completions API: vllm serve, Ollama, llama.cpp, hosted services.

API: https://platform.openai.com/docs/api-reference/chat
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass

import httpx
from pydantic import Field

from retort.offline.common.http import ResponseTooLargeError, request, request_async
from retort.offline.common.http_errors import RETRIED, error_text, retry_after_s
from retort.offline.profiles.backends._base import Message, OnReplies, Prompt, Reply, Sampling
from retort.offline.profiles.backends._http import (
    NoReplyError,
    PromptRefusedError,
    RequestOptions,
    parse_response,
    request_body,
)
from retort.offline.profiles.backends._rate_limiter import RateLimiter
from retort.offline.profiles.backends._tokens import TokenCounter, estimate_tokens, load_token_counter
from retort.shared.base.errors import ProfileError
from retort.shared.base.settings import LanguageModelSettings
from retort.shared.base.text import clean_text, load_json

SERVED = True
DEFAULT_URL = "https://api.openai.com/v1"
_REMEDIES = (
    (("context length", "context_length", "context window", "context size", "too long", "too many tokens",
      "maximum context", "n_ctx", "prompt is too long", "input length", "max_model_len", "exceeds the limit of",
      "input token count", "reduce the length"),
     "set [profiles.options] context_tokens to the model's context"),
    (("max_completion_tokens",), "set [profiles.options] limit_field = 'max_completion_tokens'"),
    (("system role", "role system", "role 'system'", "role: system", "roles must alternate", "roles are supported",
      "developer instruction", "system message", "system prompt", "systeminstruction", "system instruction"),
     "set [profiles.options] system_role = 'user'"),
    (("extra inputs are not permitted", "extra_forbidden", "unsupported parameter", "unrecognized request argument",
      "unknown name", "unknown field", "unknown parameter", "unexpected keyword", "is not supported with this model",
      "not a supported parameter"),
     "leave the field out by [profiles.options] omit, such as omit = ['seed']"),
    (("temperature",), "set [profiles] temperature to a value that the model supports"),
)  # fmt: skip


class Config(RequestOptions):
    """Options (`[profiles.options]`) of the openai backend."""

    model: str | None = Field(None, description="model name at the server; unset: the only one it offers")
    context_tokens: int = Field(8192, ge=64, description="context length: prompt and reply together")
    tokenizer: str | None = Field(
        None,
        description="hub name or folder for exact counts; 'server': its /tokenize (vLLM); unset: a high estimate",
    )
    concurrency: int = Field(8, ge=1, le=1024, description="concurrent requests")
    timeout_s: float = Field(120.0, gt=0, description="total time limit of one request, in seconds")
    retries: int = Field(5, ge=0, description="further attempts after 429, 5xx, a timeout or an incomplete response")
    backoff_s: float = Field(1.0, ge=0, description="seconds before the second attempt; doubled each time, with jitter")
    max_wait_s: float = Field(60.0, gt=0, description="most seconds between two attempts, Retry-After included")


def open_backend(config: Config, sampling: Sampling, settings: LanguageModelSettings) -> "OpenAiBackend":
    """Open the backend; query the server for its models where the recipe names none."""
    key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else None
    server = Server((settings.openai_base_url or DEFAULT_URL).rstrip("/"), key)
    return OpenAiBackend(server, config.model or _only_model(server, config.timeout_s), config, sampling)


@dataclass(frozen=True)
class Server:
    """Address and API key of the server; the key is never printed."""

    url: str
    key: str | None

    @property
    def headers(self) -> dict[str, str]:
        """Authorization header, where a key is set."""
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def __repr__(self) -> str:
        return f"Server({self.url})"


class OpenAiBackend:
    """Backend with concurrent requests, each retried on its own."""

    def __init__(self, server: Server, model: str, config: Config, sampling: Sampling) -> None:
        self._server, self._model, self._config, self._sampling = server, model, config, sampling
        self._count = _counter(server, model, config)
        self._max_lengths = True  # until the server refuses them

    @property
    def model(self) -> str:
        """The server's name of the model."""
        return self._model

    @property
    def context_tokens(self) -> int:
        """Context length from the recipe; the API has no way to query it."""
        return self._config.context_tokens

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Count exactly with a tokenizer, else by a high estimate."""
        return self._count(messages)

    def write(self, prompts: Sequence[Prompt], on_replies: OnReplies) -> list[Reply]:
        """Send all prompts; each reply is passed on as soon as it is available."""
        return asyncio.run(self._write(prompts, on_replies))

    def close(self) -> None:
        """Do nothing: connections live only during one call of `write`."""

    async def _write(self, prompts: Sequence[Prompt], on_replies: OnReplies) -> list[Reply]:
        replies: list[Reply | None] = [None] * len(prompts)
        semaphore, limiter = asyncio.Semaphore(self._config.concurrency), RateLimiter(self._config.max_wait_s)
        # httpx's own limit of connections is 100, whatever `concurrency` says
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=self._config.concurrency)
        async with httpx.AsyncClient(headers=self._server.headers, limits=limits) as client:
            tasks = [
                asyncio.create_task(self._request(client, semaphore, limiter, at, prompt))
                for at, prompt in enumerate(prompts)
            ]
            try:
                for task in asyncio.as_completed(tasks):
                    at, replies[at] = ready = await task
                    on_replies([ready])
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        return [reply for reply in replies if reply is not None]

    async def _request(
        self, client: httpx.AsyncClient, semaphore: asyncio.Semaphore, limiter: RateLimiter, at: int, prompt: Prompt
    ) -> tuple[int, Reply]:
        async with semaphore:
            reason = "no answer"
            for attempt in range(self._config.retries + 1):
                try:
                    return at, await self._post(client, prompt, limiter)
                except PromptRefusedError as error:
                    return at, Reply("", error=str(error), final=True)
                except NoReplyError as error:
                    reason = str(error)
                    if attempt < self._config.retries:
                        await asyncio.sleep(self._wait_s(attempt, error.retry_after_s))
            reason += f" (after {self._config.retries + 1} attempts)"
            return at, Reply("", error=reason, final=True, unanswered=True)

    def _wait_s(self, attempt: int, retry_after_s: float | None) -> float:
        """At least what the server states; jitter spreads the retries."""
        wait_s = self._config.backoff_s * 2.0**attempt * random.uniform(0.5, 1.0)
        return min(max(wait_s, retry_after_s or 0.0), self._config.max_wait_s)

    async def _post(self, client: httpx.AsyncClient, prompt: Prompt, limiter: RateLimiter) -> Reply:
        with_lengths = self._max_lengths
        body = request_body(prompt, self._model, self._sampling, self._config, max_lengths=with_lengths)
        await limiter.wait()
        try:
            url = f"{self._server.url}/chat/completions"
            response = await request_async(client, "POST", url, json=body, deadline_s=self._config.timeout_s)
        except httpx.TimeoutException:
            raise NoReplyError(f"no answer within {self._config.timeout_s:g} s") from None
        except httpx.InvalidURL:
            raise ProfileError(
                f"OPENAI_BASE_URL {self._server.url!r} is not a valid URL; set it to one such as http://127.0.0.1:8000/v1."
            ) from None
        except ResponseTooLargeError as error:
            raise NoReplyError(f"{self._server.url} gives no usable response ({error})") from None
        except httpx.HTTPError as error:
            raise NoReplyError(f"{self._server.url} cannot be reached ({error})") from None
        limiter.read(response)
        if response.status_code == 400 and with_lengths and prompt.schema and "maxlength" in response.text.lower():
            self._max_lengths = False  # OpenAI's own API refuses it in strict schemas
            return await self._post(client, prompt, limiter)
        _raise_for(response, self._server, self._model)
        return parse_response(response)


def _raise_for(response: httpx.Response, server: Server, model: str) -> None:
    """Raise the error that fits the status: retry, this prompt is rejected, or no prompt can succeed."""
    status = response.status_code
    if status < 300:
        return
    details = error_text(response)
    if status in (401, 403):
        raise ProfileError(
            f"{server.url} rejects the API key ({status}): set OPENAI_API_KEY to one that may use {model!r}."
        )
    if status in (404, 405) or 300 <= status < 400:
        raise ProfileError(
            f"{server.url} has no chat completions for the model {model!r} ({status}: {details}); "
            "check OPENAI_BASE_URL (it usually ends in /v1) and [profiles.options] model."
        )
    if status == 402 or "insufficient_quota" in details:
        raise ProfileError(
            f"{server.url} reports that the account has no quota left ({details}); add credit, then run again."
        )
    # llama.cpp and others answer 500 where the chat template or the context refuses a prompt
    if status in RETRIED and not (status == 500 and _remedy(details)):
        raise NoReplyError(f"{status}: {details}", retry_after_s(response))
    raise PromptRefusedError(f"the server rejected the prompt ({status}: {details}{_remedy(details)})")


def _remedy(details: str) -> str:
    """Which option cures a rejection that would meet every prompt."""
    lower = details.lower()
    for words, remedy in _REMEDIES:
        if any(word in lower for word in words):
            return f"; {remedy}"
    return ""


def _only_model(server: Server, timeout_s: float) -> str:
    try:
        with httpx.Client(headers=server.headers) as client:
            response = request(client, "GET", f"{server.url}/models", deadline_s=timeout_s)
        _raise_for(response, server, "(any)")
        names = [clean_text(str(model["id"])) for model in load_json(response.content)["data"]]
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
            f"{server.url}/models did not report which model to use ({error}); name it in [profiles.options] model."
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
            body = {"model": model, "messages": list(messages), "add_generation_prompt": True}
            with httpx.Client(headers=server.headers) as client:
                response = request(client, "POST", f"{root}/tokenize", json=body, deadline_s=config.timeout_s)
            response.raise_for_status()
            return int(load_json(response.content)["count"])
        except (httpx.HTTPError, KeyError, TypeError, ValueError) as error:
            raise ProfileError(
                f"{root}/tokenize did not count the prompt's tokens ({error}); "
                "set [profiles.options] tokenizer to the model's hub name or folder."
            ) from None

    return ask_server
