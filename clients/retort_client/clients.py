"""The two clients: one set of calls, described once, carried out by httpx with or without waiting."""

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Self, TypeVar
from urllib.parse import quote

import httpx

from .models import Accepted, Event, Recommendation, RetortProblem

R = TypeVar("R")

_TRY_AGAIN = frozenset({429, 502, 503, 504})


@dataclass(frozen=True)
class _Call(Generic[R]):
    """One request and how to read its answer. All calls are safe to repeat: events carry their ids."""

    method: str
    path: str
    read: Callable[[Any], R]
    body: Any = None
    query: Mapping[str, Any] = field(default_factory=dict)


def _recommend(request: Mapping[str, Any]) -> _Call[Recommendation]:
    said = {name: value for name, value in request.items() if value is not None}
    return _Call("POST", "/recommend", Recommendation.read, said)


def _similar(item_id: str, k: int, exclude: Sequence[str]) -> _Call[Recommendation]:
    query = {"k": k, "exclude": list(exclude)}
    return _Call("GET", f"/similar/{quote(item_id, safe='')}", Recommendation.read, query=query)


def _send(events: Iterable[Event]) -> _Call[Accepted]:
    return _Call("POST", "/events", lambda answer: Accepted(**answer), [event.document() for event in events])


def _user(method: str, user_id: str, tail: str = "", body: Any = None) -> _Call[dict[str, Any]]:
    return _Call(method, f"/users/{quote(user_id, safe='')}{tail}", lambda answer: dict(answer), body)


@dataclass(frozen=True)
class _Policy:
    """When to try again."""

    retries: int
    longest_wait_s: float

    def wait_s(self, attempt: int, problem: RetortProblem | None) -> float | None:
        """Seconds to wait before the next attempt; None: give up."""
        if attempt >= self.retries or (problem is not None and problem.status not in _TRY_AGAIN):
            return None
        asked = problem.retry_after_s if problem is not None else None
        wait = asked if asked is not None else 0.1 * 2**attempt
        return wait if wait <= self.longest_wait_s else None


def _read(call: _Call[R], response: httpx.Response) -> R:
    if response.is_success:
        return call.read(response.json())
    try:
        document = response.json()
    except json.JSONDecodeError:  # a proxy's own page
        document = {}
    after = response.headers.get("retry-after", "")
    seconds = float(after) if after.isdecimal() else None
    raise RetortProblem(document if isinstance(document, dict) else {}, response.status_code, seconds)


def _options(base_url: str, api_key: str | None, timeout_s: float) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {api_key}"} if api_key is not None else {}
    return {"base_url": base_url, "headers": headers, "timeout": timeout_s}


class RetortClient:
    """Calls a server and waits. Thread-safe; keep one and share it."""

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
        self._policy = _Policy(retries, longest_wait_s)

    def recommend(
        self, user_id: str | None = None, *, history: Sequence[str] | None = None, k: int = 10, **more: Any
    ) -> Recommendation:
        """Ranked items; `more` is anything that the server's `RecommendRequest` knows."""
        return self._do(_recommend({"user_id": user_id, "history": history, "k": k, **more}))

    def similar(self, item_id: str, k: int = 10, exclude: Sequence[str] = ()) -> Recommendation:
        """Items like this one."""
        return self._do(_similar(item_id, k, exclude))

    def send(self, events: Iterable[Event]) -> Accepted:
        """Tell what happened; the next answer knows it."""
        return self._do(_send(events))

    def history(self, user_id: str) -> list[dict[str, Any]]:
        """The stored events, oldest first."""
        return list(self._do(_user("GET", user_id, "/history"))["events"])

    def merge(self, user_id: str, *, session_id: str) -> int:
        """Move a guest's history into the user's; returns how many events were new."""
        return int(self._do(_user("POST", user_id, "/merge", {"session_id": session_id}))["moved"])

    def known(self, user_id: str) -> dict[str, Any]:
        """Everything that the server knows of the user."""
        return self._do(_user("GET", user_id))

    def erase(self, user_id: str) -> dict[str, Any]:
        """Forget everything; the answer says how far it is."""
        return self._do(_user("DELETE", user_id))

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _do(self, call: _Call[R]) -> R:
        attempt = 0
        while True:
            try:
                response = self._http.request(call.method, call.path, json=call.body, params=dict(call.query))
                return _read(call, response)
            except (RetortProblem, httpx.TransportError) as error:
                wait_s = self._policy.wait_s(attempt, error if isinstance(error, RetortProblem) else None)
                if wait_s is None:
                    raise
            time.sleep(wait_s)
            attempt += 1


class AsyncRetortClient:
    """The same calls, to be awaited."""

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
        self._policy = _Policy(retries, longest_wait_s)

    async def recommend(
        self, user_id: str | None = None, *, history: Sequence[str] | None = None, k: int = 10, **more: Any
    ) -> Recommendation:
        """Ranked items; `more` is anything that the server's `RecommendRequest` knows."""
        return await self._do(_recommend({"user_id": user_id, "history": history, "k": k, **more}))

    async def similar(self, item_id: str, k: int = 10, exclude: Sequence[str] = ()) -> Recommendation:
        """Items like this one."""
        return await self._do(_similar(item_id, k, exclude))

    async def send(self, events: Iterable[Event]) -> Accepted:
        """Tell what happened; the next answer knows it."""
        return await self._do(_send(events))

    async def history(self, user_id: str) -> list[dict[str, Any]]:
        """The stored events, oldest first."""
        return list((await self._do(_user("GET", user_id, "/history")))["events"])

    async def merge(self, user_id: str, *, session_id: str) -> int:
        """Move a guest's history into the user's; returns how many events were new."""
        return int((await self._do(_user("POST", user_id, "/merge", {"session_id": session_id})))["moved"])

    async def known(self, user_id: str) -> dict[str, Any]:
        """Everything that the server knows of the user."""
        return await self._do(_user("GET", user_id))

    async def erase(self, user_id: str) -> dict[str, Any]:
        """Forget everything; the answer says how far it is."""
        return await self._do(_user("DELETE", user_id))

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _do(self, call: _Call[R]) -> R:
        attempt = 0
        while True:
            try:
                response = await self._http.request(call.method, call.path, json=call.body, params=dict(call.query))
                return _read(call, response)
            except (RetortProblem, httpx.TransportError) as error:
                wait_s = self._policy.wait_s(attempt, error if isinstance(error, RetortProblem) else None)
                if wait_s is None:
                    raise
            await asyncio.sleep(wait_s)
            attempt += 1
