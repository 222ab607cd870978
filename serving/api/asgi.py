"""ASGI middleware in front of FastAPI: request ids, overload protection, metrics and the fast path.

The fast path answers `/recommend` and `/events` from bytes to bytes, because a framework's routing and validation would
cost more than the student. FastAPI handles all other requests and documents these two as well.
"""

import logging
import random
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import HTTPException, Request, Response

from retort.serving.api.id_paths import routed_path
from retort.serving.runtime.metrics import Metrics
from retort.serving.schemas.problems import CONTENT_TYPE, Problem, failure, overloaded
from retort.shared.base import logging as logs

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

JSON = "application/json"
# A request id is no secret, so it does not need a system call.
_random = random.Random()
REQUEST_ID_PATTERN = re.compile(rb"[A-Za-z0-9_-]{1,64}")
# Probes and scrapes are answered under overload too, and do not count as requests in flight.
PROBE_PATHS = ("/health/", "/metrics", "/v2/health/")
# Routes whose body the framework would read and validate before the route checks the key.
_KEY_FIRST_PATHS = ("/users/", "/v2/models/", "/recommend", "/events", "/similar/", "/refreshes")


@dataclass(slots=True)
class RawRequest:
    """A request of the fast path, with its body."""

    method: str
    path: str
    query: bytes
    headers: dict[bytes, bytes]
    body: bytes
    request_id: str


@dataclass(slots=True)
class RawResponse:
    """A response of the fast path."""

    body: bytes
    status: int = 200
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)


Handler = Callable[[RawRequest], Awaitable[RawResponse]]


class FastPathMiddleware:
    """Middleware that all requests pass.

    Args:
        app: The framework's application.
        routes: Handlers of the fast path by method and path.
        max_waiting: Requests in flight; further ones are refused with 503.
        check_key: Raises a `Problem` for a request without a valid key.
    """

    def __init__(
        self,
        app: AsgiApp,
        routes: dict[tuple[str, str], Handler],
        metrics: Metrics,
        *,
        max_waiting: int,
        max_body_bytes: int,
        check_key: Callable[[dict[bytes, bytes]], None] = lambda headers: None,
    ) -> None:
        self._app = app
        self._routes = routes
        self._metrics = metrics
        self._max_waiting = max_waiting
        self._max_body_bytes = max_body_bytes
        self._check_key = check_key
        self._in_flight = 0
        metrics.in_flight.set(0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        request_id = _request_id(headers)
        logs.request_id.set(request_id)
        path = scope["path"]
        counted = 0 if path.startswith(PROBE_PATHS) else 1
        if counted and self._in_flight >= self._max_waiting:
            self._metrics.count_refusal("overload", 503)
            await _send(send, _problem(overloaded(), request_id), request_id)
            return
        self._in_flight += counted
        self._metrics.in_flight.set(self._in_flight)
        started = time.perf_counter()
        status, route = 500, ""
        try:
            handler = self._routes.get((scope["method"], path))
            if handler is None:
                if path.startswith(_KEY_FIRST_PATHS):
                    self._check_key(headers)
                status = await self._run_framework(scope, receive, send, request_id)
            else:
                route = path
                status = await self._run_handler(handler, scope, headers, receive, send, request_id)
        except Problem as problem:  # of the key check; problems of handlers are answered by _run_handler
            status, route = problem.status, "refused"
            await _send(send, _problem(problem, request_id), request_id)
        finally:
            self._in_flight -= counted
            self._metrics.in_flight.set(self._in_flight)
            # The route's pattern, not the path, which holds ids.
            route = route or getattr(scope.get("route"), "path", "other")
            self._metrics.count_request(route, status, time.perf_counter() - started)

    async def _run_handler(
        self, handler: Handler, scope: Scope, headers: dict[bytes, bytes], receive: Receive, send: Send, request_id: str
    ) -> int:
        try:
            body = await _read_body(receive, self._max_body_bytes) if scope["method"] == "POST" else b""
            raw_request = RawRequest(scope["method"], scope["path"], scope["query_string"], headers, body, request_id)
            raw_response = await handler(raw_request)
        except Problem as problem:
            raw_response = _problem(problem, request_id)
        except Disconnected:
            return 499
        except Exception:  # the caller gets a problem document, the log gets the traceback
            logger.exception("request failed", extra={"request_id": request_id})
            raw_response = _problem(failure(), request_id)
        await _send(send, raw_response, request_id)
        return raw_response.status

    async def _run_framework(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> int:
        status = 500
        scope["state"] = {**scope.get("state", {}), "request_id": request_id}
        scope["path"] = routed_path(scope)

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                extra = [(b"x-request-id", request_id.encode())]
                names = {name for name, _ in message["headers"]}
                if b"cache-control" not in names:
                    extra.append((b"cache-control", b"private, no-store"))
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        await self._app(scope, _limit_body(receive, self._max_body_bytes), send_with_headers)
        return status


class Disconnected(Exception):  # noqa: N818 - not an error of the server
    """The caller disconnected before the body was complete."""


def as_endpoint(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """Wrap a handler of the fast path as a FastAPI endpoint, for the documentation and for mounted applications."""

    async def endpoint(request: Request) -> Response:
        raw_request = RawRequest(
            request.method,
            request.url.path,
            request.scope["query_string"],
            dict(request.scope["headers"]),
            await request.body(),
            request.state.request_id,
        )
        raw_response = await handler(raw_request)
        return Response(raw_response.body, raw_response.status, raw_response.headers, raw_response.content_type)

    return endpoint


def _request_id(headers: dict[bytes, bytes]) -> str:
    """Return the caller's id if it matches the pattern, otherwise a new one."""
    sent = headers.get(b"x-request-id")
    if sent is not None and REQUEST_ID_PATTERN.fullmatch(sent):
        return sent.decode()
    return f"{_random.getrandbits(64):016x}"


def _problem(problem: Problem, request_id: str) -> RawResponse:
    return RawResponse(problem.body(request_id), problem.status, CONTENT_TYPE, problem.headers)


async def _read_body(receive: Receive, limit: int) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    parts = [body]
    size = len(body)
    while True:
        if message["type"] == "http.disconnect":
            raise Disconnected
        if size > limit:
            raise too_large(limit)
        if not message.get("more_body", False):
            return body if len(parts) == 1 else b"".join(parts)
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])


def _limit_body(receive: Receive, limit: int) -> Receive:
    size = 0

    async def receive_limited() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > limit:
            # The framework reads the body here: it passes this exception on and turns any other into a 400.
            raise HTTPException(413, too_large(limit).detail)
        return message

    return receive_limited


def too_large(limit: int) -> Problem:
    """Return a 413 with the limit."""
    return Problem(413, f"The body is larger than {limit} bytes; split it into several requests.")


async def _send(send: Send, raw_response: RawResponse, request_id: str) -> None:
    headers = [
        (b"content-type", raw_response.content_type.encode()),
        (b"content-length", str(len(raw_response.body)).encode()),
        (b"cache-control", b"private, no-store"),
        (b"x-request-id", request_id.encode()),
    ]
    headers += [(name.lower().encode(), value.encode()) for name, value in raw_response.headers.items()]
    await send({"type": "http.response.start", "status": raw_response.status, "headers": headers})
    await send({"type": "http.response.body", "body": raw_response.body})
