"""OpenTelemetry traces of HTTP requests; enabled by RETORT_TRACES, requires the extra `otel`.

The standard instrumentation of ASGI writes whole paths into spans. Paths hold user ids here, so spans carry only the
pattern of the route.
"""

import asyncio
from typing import Any

from retort.serving.api.asgi import PROBE_PATHS, AsgiApp, Scope, Send
from retort.serving.api.body_reader import Message, Receive
from retort.shared.base.errors import RetortError
from retort.shared.base.tracing import NOT_INSTALLED, shut_down, tracer_provider


def with_tracing(app: AsgiApp, provider: Any | None = None) -> AsgiApp:
    """Wrap the application in a span for each request.

    Args:
        provider: OpenTelemetry tracer provider; default: one that exports over OTLP, configured by the environment.

    Raises:
        RetortError: The extra `otel` is not installed.
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
            await app(scope, receive, _flushing_send(send, provider))
            return
        if scope["type"] != "http" or scope["path"].startswith(PROBE_PATHS):
            await app(scope, receive, send)
            return
        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        method = scope["method"]
        with tracer.start_as_current_span(method, context=extract(carrier), kind=SpanKind.SERVER) as span:
            span.set_attribute("http.request.method", method)
            await app(scope, receive, _recording_send(send, span))
            route = _route(scope)
            span.update_name(f"{method} {route}")
            span.set_attribute("http.route", route)

    return entry


def _route(scope: Scope) -> str:
    """Return the route's pattern. The framework does not route the fast paths and unknown paths."""
    if scope["path"] in ("/recommend", "/events"):
        return str(scope["path"])
    return getattr(scope.get("route"), "path", "other")


def _recording_send(send: Send, span: Any) -> Send:
    async def send_recorded(message: Message) -> None:
        if message["type"] == "http.response.start":
            status = message["status"]
            span.set_attribute("http.response.status_code", status)
            if status >= 500:
                span.set_attribute("error.type", str(status))
            request_id = dict(message["headers"]).get(b"x-request-id")
            if request_id is not None:
                span.set_attribute("retort.request_id", request_id.decode())
        await send(message)

    return send_recorded


def _flushing_send(send: Send, provider: Any) -> Send:
    """Export the last spans before the shutdown is reported: nothing runs after it."""

    async def send_flushed(message: Message) -> None:
        if message["type"] == "lifespan.shutdown.complete":
            await asyncio.to_thread(shut_down, provider)
        await send(message)

    return send_flushed
