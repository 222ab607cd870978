"""Traces of offline work: Celery tasks, chunks of refreshes, and requests to a language model's server.

Celery and httpx are traced by OpenTelemetry's own instrumentation. A worker finds a refresh in the database and not
in a message, so its row carries the trace of the request.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from retort.shared.base.errors import RetortError
from retort.shared.base.tracing import NOT_INSTALLED, extract_trace, tracer_provider

SERVICE = "retort-offline"
_tracers: list[Any] = []


def trace_offline(provider: Any | None = None) -> None:
    """Make this process write spans from now on.

    Args:
        provider: An OpenTelemetry tracer provider; None: one that exports over OTLP by the environment's variables.

    Raises:
        RetortError: The extra `otel` is not installed.
    """
    try:
        from opentelemetry.instrumentation.celery import CeleryInstrumentor
        from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
    except ImportError:
        raise RetortError(NOT_INSTALLED) from None
    provider = provider or tracer_provider(SERVICE)
    CeleryInstrumentor().instrument(tracer_provider=provider)  # type: ignore[no-untyped-call]
    HTTPXClientInstrumentor().instrument(tracer_provider=provider)
    _tracers.append(provider.get_tracer("retort.offline"))


def stop_tracing() -> None:
    """Stop writing spans. A process that ends does not need to."""
    if _tracers:
        from opentelemetry.instrumentation.celery import CeleryInstrumentor
        from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

        CeleryInstrumentor().uninstrument()  # type: ignore[no-untyped-call]
        HTTPXClientInstrumentor().uninstrument()
        _tracers.clear()


@contextmanager
def span(name: str, carrier: Mapping[str, str], **attributes: str | int) -> Iterator[None]:
    """A span around the block, within the trace of `carrier`; nothing if traces are off."""
    if not _tracers:
        yield
        return
    named = {f"retort.{key}": value for key, value in attributes.items()}
    with _tracers[-1].start_as_current_span(name, context=extract_trace(carrier), attributes=named):
        yield
