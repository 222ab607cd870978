"""OpenTelemetry traces of HTTP requests; off unless RETORT_TRACES says otherwise, extra `otel`.

The ready-made instrumentation of ASGI writes whole paths into spans; ours hold users' ids, so the span here knows the
route's pattern alone.
"""

import asyncio
from typing import Any

from retort.serving.api.asgi import ALWAYS_OPEN, AsgiApp, Message, Receive, Scope, Send
from retort.shared.base.errors import RetortError
from retort.shared.base.tracing import NOT_INSTALLED, tracer_provider


def traced(app: AsgiApp, provider: Any | None = None) -> AsgiApp:
    """The application with a span around each request; `RetortError` where the extra is not installed.

    provider: an OpenTelemetry tracer provider; None: one that exports over OTLP as the environment says.
    """
    try:
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind
    except ImportError:
        raise RetortError(NOT_INSTALLED) from None
    provider = provider or tracer_provider("retort")
    tracer = provider.get_tracer("retort.serving")

    async def entry(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, _flushing(send, provider))
            return
        if scope["type"] != "http" or scope["path"].startswith(ALWAYS_OPEN):
            await app(scope, receive, send)
            return
        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        method = scope["method"]
        with tracer.start_as_current_span(method, context=extract(carrier), kind=SpanKind.SERVER) as span:
            span.set_attribute("http.request.method", method)
            await app(scope, receive, _noting(send, span))
            route = _route(scope)
            span.update_name(f"{method} {route}")
            span.set_attribute("http.route", route)

    return entry


def _route(scope: Scope) -> str:
    """The pattern that answered. What the framework did not route is one of the hot paths, or nothing we know."""
    if scope["path"] in ("/recommend", "/events"):
        return str(scope["path"])
    return getattr(scope.get("route"), "path", "other")


def _noting(send: Send, span: Any) -> Send:
    async def noted(message: Message) -> None:
        if message["type"] == "http.response.start":
            status = message["status"]
            span.set_attribute("http.response.status_code", status)
            if status >= 500:
                span.set_attribute("error.type", str(status))
            request_id = dict(message["headers"]).get(b"x-request-id")
            if request_id is not None:
                span.set_attribute("retort.request_id", request_id.decode())
        await send(message)

    return noted


def _flushing(send: Send, provider: Any) -> Send:
    """The last spans leave before the server says that it has stopped: it ends by a signal, and nothing runs after."""

    async def flushed(message: Message) -> None:
        if message["type"] == "lifespan.shutdown.complete":
            await asyncio.to_thread(provider.shutdown)
        await send(message)

    return flushed
