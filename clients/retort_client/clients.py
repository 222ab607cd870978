"""Synchronous and asynchronous client, based on httpx; the calls are defined in `calls.py`."""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload
from uuid import uuid4

import httpx

from . import calls
from .calls import Call
from .limits import send, send_async
from .models import RetortProblem

P = ParamSpec("P")
R = TypeVar("R")

_RETRYABLE = frozenset({429, 502, 503, 504})


class _Method(Generic[P, R]):
    """Descriptor that turns a call into a method: blocking in one client, a coroutine in the other."""

    def __init__(self, describe: Callable[P, Call[R]]) -> None:
        self._describe = describe

    @overload
    def __get__(self, client: None, owner: type[Any]) -> Callable[P, Call[R]]: ...
    @overload
    def __get__(self, client: "RetortClient", owner: type[Any]) -> Callable[P, R]: ...
    @overload
    def __get__(self, client: "AsyncRetortClient", owner: type[Any]) -> Callable[P, Awaitable[R]]: ...

    def __get__(self, client: Any, owner: type[Any]) -> Callable[P, Any]:
        describe = self._describe
        if client is None:
            return describe

        @functools.wraps(describe)
        def method(*args: P.args, **named: P.kwargs) -> Any:
            return client._send(describe(*args, **named))

        return method


class _Calls:
    """Methods of both clients."""

    recommend = _Method(calls.recommend)
    similar = _Method(calls.similar)
    send = _Method(calls.send)
    history = _Method(calls.history)
    merge = _Method(calls.merge)
    known = _Method(calls.known)
    erase = _Method(calls.erase)
    erasure = _Method(calls.erasure)


@dataclass(frozen=True)
class _Policy:
    """Retry policy."""

    retries: int
    longest_wait_s: float

    def wait_s(self, attempt: int, error: Exception) -> float:
        """Return the seconds before the next attempt; raise `error` when there is none."""
        problem = error if isinstance(error, RetortProblem) else None
        requested = problem.retry_after_s if problem is not None else None
        wait = requested if requested is not None else 0.1 * 2**attempt
        is_permanent = problem is not None and problem.status not in _RETRYABLE
        if is_permanent or attempt >= self.retries or wait > self.longest_wait_s:
            raise error
        return wait


def _request(http: Callable[Concatenate[str, str, ...], R], call: Call[Any]) -> Callable[[], R]:
    """Return a function that sends the request; each attempt has the same body and the same id."""
    headers = {"x-request-id": uuid4().hex}
    return lambda: http(call.method, call.path, json=call.body, params=dict(call.query), headers=headers)


def _read(call: Call[R], response: httpx.Response) -> R:
    if response.is_success:
        return call.read(response.json())
    try:
        document = response.json()
    except ValueError:  # an error page of a proxy
        document = {}
    after = response.headers.get("retry-after", "")
    seconds = float(after) if after.isdecimal() else None
    raise RetortProblem(document if isinstance(document, dict) else {}, response.status_code, seconds)


def _options(base_url: str, api_key: str | None, timeout_s: float) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {api_key}"} if api_key is not None else {}
    return {"base_url": base_url, "headers": headers, "timeout": timeout_s}


class RetortClient(_Calls):
    """Blocking client. It is thread-safe; create one and share it.

    Args:
        api_key: Required if the server has API keys.
        timeout_s: Total time limit of one attempt.
        retries: Attempts after the first one, for 429, 502, 503, 504 and connection errors.
        longest_wait_s: A longer `Retry-After` raises the error at once.

    Raises:
        RetortProblem: From each method, for an error response.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        timeout_s: float = 2.0,
        retries: int = 2,
        longest_wait_s: float = 5.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = httpx.Client(transport=transport, **_options(base_url, api_key, timeout_s))
        self._policy, self._timeout_s = _Policy(retries, longest_wait_s), timeout_s

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, call: Call[R]) -> R:
        http = functools.partial(send, self._http, self._timeout_s)
        attempt_request, attempt = _request(http, call), 0
        while True:
            try:
                return _read(call, attempt_request())
            except (RetortProblem, httpx.TransportError) as error:
                wait_s = self._policy.wait_s(attempt, error)
            time.sleep(wait_s)
            attempt += 1


class AsyncRetortClient(_Calls):
    """Asynchronous client; its arguments are those of `RetortClient`."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        timeout_s: float = 2.0,
        retries: int = 2,
        longest_wait_s: float = 5.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(transport=transport, **_options(base_url, api_key, timeout_s))
        self._policy, self._timeout_s = _Policy(retries, longest_wait_s), timeout_s

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _send(self, call: Call[R]) -> R:
        http = functools.partial(send_async, self._http, self._timeout_s)
        attempt_request, attempt = _request(http, call), 0
        while True:
            try:
                return _read(call, await attempt_request())
            except (RetortProblem, httpx.TransportError) as error:
                wait_s = self._policy.wait_s(attempt, error)
            await asyncio.sleep(wait_s)
            attempt += 1
