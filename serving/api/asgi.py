"""The seam between ASGI and the application: one front that all requests pass.

The two hot routes are answered right here, from bytes to bytes; a framework's routing and validation would cost more
than the student does. All other requests go on to FastAPI, which also documents the hot ones.
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
# A request id names, it does not protect: no system call for each.
_random = random.Random()
REQUEST_ID_PATTERN = re.compile(rb"[A-Za-z0-9_-]{1,64}")
# Probes and scrapes must be heard when the house is full.
ALWAYS_OPEN = ("/health/", "/metrics", "/v2/health/")
# Whose body the framework would read, and judge, before the route sees the key.
_GUARDED = ("/users/", "/v2/models/", "/recommend", "/events", "/similar/", "/refreshes")


@dataclass(slots=True)
class Incoming:
    """A request that has been read."""

    method: str
    path: str
    query: bytes
    headers: dict[bytes, bytes]
    body: bytes
    request_id: str


@dataclass(slots=True)
class Outgoing:
    """A response that has been decided."""

    body: bytes
    status: int = 200
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)


Handler = Callable[[Incoming], Awaitable[Outgoing]]


class Front:
    """Request id, limits, metrics and the hot lane, before the framework."""

    def __init__(
        self,
        app: AsgiApp,
        lane: dict[tuple[str, str], Handler],
        metrics: Metrics,
        *,
        max_waiting: int,
        max_body_bytes: int,
        guard: Callable[[dict[bytes, bytes]], None] = lambda headers: None,
    ) -> None:
        self._app = app
        self._lane = lane
        self._metrics = metrics
        self._max_waiting = max_waiting
        self._max_body_bytes = max_body_bytes
        self._guard = guard
        self._in_flight = 0
        metrics.waiting.set(0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        request_id = _request_id(headers)
        logs.request_id.set(request_id)
        path = scope["path"]
        # Nor do they take a place in it.
        places = 0 if path.startswith(ALWAYS_OPEN) else 1
        if places and self._in_flight >= self._max_waiting:
            self._metrics.count_refusal("overload", 503)
            await _send(send, _problem(overloaded(), request_id), request_id)
            return
        self._in_flight += places
        self._metrics.waiting.set(self._in_flight)
        started = time.perf_counter()
        status, route = 500, ""
        try:
            handler = self._lane.get((scope["method"], path))
            if handler is None:
                if path.startswith(_GUARDED):
                    self._guard(headers)
                status = await self._through_framework(scope, receive, send, request_id)
            else:
                route = path
                status = await self._hot(handler, scope, headers, receive, send, request_id)
        except Problem as problem:  # the guard's; what handlers raise is answered where they are called
            status, route = problem.status, "refused"
            await _send(send, _problem(problem, request_id), request_id)
        finally:
            self._in_flight -= places
            self._metrics.waiting.set(self._in_flight)
            # The route's pattern, never the path: a path holds ids.
            route = route or getattr(scope.get("route"), "path", "other")
            self._metrics.count_request(route, status, time.perf_counter() - started)

    async def _hot(
        self, handler: Handler, scope: Scope, headers: dict[bytes, bytes], receive: Receive, send: Send, request_id: str
    ) -> int:
        try:
            body = await _read(receive, self._max_body_bytes) if scope["method"] == "POST" else b""
            incoming = Incoming(scope["method"], scope["path"], scope["query_string"], headers, body, request_id)
            outgoing = await handler(incoming)
        except Problem as problem:
            outgoing = _problem(problem, request_id)
        except Disconnected:
            return 499
        except Exception:  # the last line of defence: the caller gets a document, the log the trace
            logger.exception("request failed", extra={"request_id": request_id})
            outgoing = _problem(failure(), request_id)
        await _send(send, outgoing, request_id)
        return outgoing.status

    async def _through_framework(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> int:
        status = 500
        scope["state"] = {**scope.get("state", {}), "request_id": request_id}
        scope["path"] = routed_path(scope)

        async def marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                extra = [(b"x-request-id", request_id.encode())]
                names = {name for name, _ in message["headers"]}
                if b"cache-control" not in names:
                    extra.append((b"cache-control", b"private, no-store"))
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        await self._app(scope, _limited(receive, self._max_body_bytes), marked)
        return status


class Disconnected(Exception):  # noqa: N818 - not an error of ours
    """The caller left before the body was complete."""


def documented(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """The same handler as a FastAPI endpoint, for its documentation and for mounted applications."""

    async def endpoint(request: Request) -> Response:
        incoming = Incoming(
            request.method,
            request.url.path,
            request.scope["query_string"],
            dict(request.scope["headers"]),
            await request.body(),
            request.state.request_id,
        )
        outgoing = await handler(incoming)
        return Response(outgoing.body, outgoing.status, outgoing.headers, outgoing.content_type)

    return endpoint


def _request_id(headers: dict[bytes, bytes]) -> str:
    """The caller's own id where it is harmless, else a new one."""
    given = headers.get(b"x-request-id")
    if given is not None and REQUEST_ID_PATTERN.fullmatch(given):
        return given.decode()
    return f"{_random.getrandbits(64):016x}"


def _problem(problem: Problem, request_id: str) -> Outgoing:
    return Outgoing(problem.body(request_id), problem.status, CONTENT_TYPE, problem.headers)


async def _read(receive: Receive, limit: int) -> bytes:
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


def _limited(receive: Receive, limit: int) -> Receive:
    size = 0

    async def counted() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > limit:
            # the framework, which reads the bodies here, lets this one pass and makes a 400 of any other
            raise HTTPException(413, too_large(limit).detail)
        return message

    return counted


def too_large(limit: int) -> Problem:
    """413 with the limit."""
    return Problem(413, f"The body is larger than {limit} bytes; send it in parts.")


async def _send(send: Send, outgoing: Outgoing, request_id: str) -> None:
    headers = [
        (b"content-type", outgoing.content_type.encode()),
        (b"content-length", str(len(outgoing.body)).encode()),
        (b"cache-control", b"private, no-store"),
        (b"x-request-id", request_id.encode()),
    ]
    headers += [(name.lower().encode(), value.encode()) for name, value in outgoing.headers.items()]
    await send({"type": "http.response.start", "status": outgoing.status, "headers": headers})
    await send({"type": "http.response.body", "body": outgoing.body})
