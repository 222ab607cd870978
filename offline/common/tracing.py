"""Traces of offline work: Celery's tasks, chunks of refreshes, and each question to a language model's server.

Celery and httpx are traced by OpenTelemetry's own instrumentation. A refresh is found by its worker in the database and
not in a message, so the row carries the trace of who asked for it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from retort.shared.base.errors import RetortError
from retort.shared.base.tracing import NOT_INSTALLED, extract_trace, tracer_provider

SERVICE = "retort-offline"
_tracers: list[Any] = []


def trace_offline(provider: Any | None = None) -> None:
    """From now on this process writes spans; `RetortError` where the extra `otel` is not installed.

    provider: an OpenTelemetry tracer provider; None: one that exports over OTLP as the environment says.
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


def trace_no_more() -> None:
    """Undo it; a process that ends need not."""
    if _tracers:
        from opentelemetry.instrumentation.celery import CeleryInstrumentor
        from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

        CeleryInstrumentor().uninstrument()  # type: ignore[no-untyped-call]
        HTTPXClientInstrumentor().uninstrument()
        _tracers.clear()


@contextmanager
def span(name: str, carrier: Mapping[str, str], **attributes: str | int) -> Iterator[None]:
    """A span around the block, within the trace that `carrier` names; without traces nothing at all."""
    if not _tracers:
        yield
        return
    named = {f"retort.{key}": value for key, value in attributes.items()}
    with _tracers[-1].start_as_current_span(name, context=extract_trace(carrier), attributes=named):
        yield
