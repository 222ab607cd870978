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
from urllib.parse import unquote_to_bytes

from fastapi import Request, Response

from retort.serving.api.body_reader import BodyReader, Disconnected, Message, Receive
from retort.serving.api.id_paths import routed_path
from retort.serving.runtime.metrics import Metrics
from retort.serving.schemas.problems import CONTENT_TYPE, Problem, failure, for_path, overloaded
from retort.shared.base import logging as logs

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

JSON = "application/json"
# A request id is no secret, so it does not need a system call.
_random = random.Random()
_JSON_TYPE = (b"content-type", JSON.encode())
REQUEST_ID_PATTERN = re.compile(rb"[A-Za-z0-9_-]{1,64}")
# Probes and scrapes are answered under overload too, and do not count as requests in flight.
PROBE_PATHS = ("/health/", "/metrics", "/v2/health/")
# Routes that read or change data. Their key is checked from the headers, before the body is read; no other route reads
# a body.
DATA_PATHS = (
    "/users",
    "/items",
    "/facets",
    "/map",
    "/experiments",
    "/v2/models/",
    "/recommend",
    "/events",
    "/similar/",
    "/refreshes",
    "/models",
)
_BODY_METHODS = ("POST", "PUT", "PATCH")


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
        read_timeout_s: Seconds for the body of a request; after it the request is refused with 408.
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
        read_timeout_s: float,
        check_key: Callable[[dict[bytes, bytes]], None] = lambda headers: None,
    ) -> None:
        self._app = app
        self._routes = routes
        self._metrics = metrics
        self._max_waiting = max_waiting
        self._bodies = BodyReader(max_body_bytes, max_waiting * max_body_bytes, read_timeout_s)
        self._check_key = check_key
        self._in_flight = 0
        metrics.in_flight.set(0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        request_id = request_id_of(headers)
        logs.request_id.set(request_id)
        path = scope["path"]
        started = time.perf_counter()
        handler = self._routes.get((scope["method"], path))
        status, route = 500, "refused"
        try:
            body = b""
            # Pages count for nothing: they need no key, so callers without one would take the places of others.
            counted = path.startswith(DATA_PATHS)
            if counted:
                self._check_key(headers)
                if "\ufffd" in path:
                    _refuse_undecodable(scope)
                self._check_load()  # a request that would be refused is not read
                if scope["method"] in _BODY_METHODS:
                    _refuse_compressed(headers)
                    body = await self._bodies.read(receive)
                    # Bodies are JSON whatever their declared type; the framework would read only what is declared so.
                    scope["headers"] = [*(pair for pair in scope["headers"] if pair[0] != b"content-type"), _JSON_TYPE]
            if not path.startswith(PROBE_PATHS):
                self._check_load()
            route = "" if handler is None else path
            raw_request = RawRequest(scope["method"], path, scope["query_string"], headers, body, request_id)
            status = await self._answer(scope, raw_request, handler, receive, send, counted=counted)
        except Problem as problem:  # problems of the routes are answered by _answer
            status = problem.status
            await send_problem(send, for_path(problem, path), request_id)
        except Disconnected:
            status = 499
        finally:
            seconds = time.perf_counter() - started
            if status == 503 and route == "refused":
                self._metrics.count_refusal("overload", 503)
            else:  # the route's pattern, not the path, which holds ids
                self._metrics.count_request(route or getattr(scope.get("route"), "path", "other"), status, seconds)

    def _check_load(self) -> None:
        if self._in_flight >= self._max_waiting:
            raise overloaded()

    async def _answer(
        self,
        scope: Scope,
        raw_request: RawRequest,
        handler: Handler | None,
        receive: Receive,
        send: Send,
        *,
        counted: bool,
    ) -> int:
        """Answer a request whose body has been read, and return the status.

        Only these requests are in flight: a caller that is slow to send its body takes no place of another.
        """
        self._in_flight += counted
        self._metrics.in_flight.set(self._in_flight)
        try:
            if handler is not None:
                return await self._run_handler(handler, raw_request, send)
            return await self._run_framework(scope, _replay(raw_request.body, receive), send, raw_request.request_id)
        finally:
            self._in_flight -= counted
            self._metrics.in_flight.set(self._in_flight)

    async def _run_handler(self, handler: Handler, raw_request: RawRequest, send: Send) -> int:
        request_id = raw_request.request_id
        try:
            raw_response = await handler(raw_request)
        except Problem as problem:
            raw_response = _problem(problem, request_id)
        except Exception:  # the caller gets a problem document, the log gets the traceback
            logger.exception("request failed", extra={"request_id": request_id})
            raw_response = _problem(failure(), request_id)
        await _send(send, raw_response, request_id)
        return raw_response.status

    async def _run_framework(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> int:
        status = 500
        scope["state"] = {**scope.get("state", {}), "request_id": request_id}
        path = routed_path(scope)
        is_head = scope["method"] == "HEAD" and not path.startswith(DATA_PATHS)
        # HEAD is answered as GET without the body. Data routes do not support it: they record what they return.
        routed = {**scope, "path": path, "method": "GET" if is_head else scope["method"]}

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                extra = [(b"x-request-id", request_id.encode())]
                names = {name for name, _ in message["headers"]}
                if b"cache-control" not in names:
                    extra.append((b"cache-control", b"private, no-store"))
                message = {**message, "headers": [*message["headers"], *extra]}
            elif is_head:
                message = {**message, "body": b""}
            await send(message)

        try:
            await self._app(routed, receive, send_with_headers)
        finally:
            scope["route"] = routed.get("route")
        return status


def _refuse_undecodable(scope: Scope) -> None:
    """Refuse a path whose bytes are not text: two of them would be one id, that of another user."""
    try:
        unquote_to_bytes(scope["raw_path"]).decode()
    except UnicodeDecodeError:
        raise Problem(422, "The path is not percent-encoded UTF-8.") from None


def _refuse_compressed(headers: dict[bytes, bytes]) -> None:
    if headers.get(b"content-encoding", b"").strip().lower() not in (b"", b"identity"):
        raise Problem(422, "Content-Encoding: compressed bodies are not read; send the body uncompressed.")


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


def request_id_of(headers: dict[bytes, bytes]) -> str:
    """Return the caller's id if it matches the pattern, otherwise a new one."""
    sent = headers.get(b"x-request-id")
    if sent is not None and REQUEST_ID_PATTERN.fullmatch(sent):
        return sent.decode()
    return f"{_random.getrandbits(64):016x}"


def _problem(problem: Problem, request_id: str) -> RawResponse:
    return RawResponse(problem.body(request_id), problem.status, CONTENT_TYPE, problem.headers)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that yields the body that was read, and then what follows it."""
    is_sent = False

    async def receive_again() -> Message:
        nonlocal is_sent
        if is_sent:
            return await receive()
        is_sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


async def send_problem(send: Send, problem: Problem, request_id: str) -> None:
    """Send a problem document."""
    await _send(send, _problem(problem, request_id), request_id)


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
