"""OpenTelemetry traces, for installations with the extra `otel`; the packages are imported only when traces are on.

The standard variables configure exporter and sampling (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER`,
`OTEL_SERVICE_NAME`).
"""

import atexit
import logging
import threading
from collections.abc import Mapping
from typing import Any
from weakref import WeakSet

from retort.shared.base.errors import RetortError

logger = logging.getLogger(__name__)

SHUTDOWN_TIMEOUT_S = 3.0
_lock = threading.Lock()
_shut_down: "WeakSet[Any]" = WeakSet()

NOT_INSTALLED = "RETORT_TRACES requires OpenTelemetry's packages; pip install 'retort-recsys[otel]'."


def tracer_provider(service: str) -> Any:
    """Return a tracer provider that exports over OTLP as the environment configures.

    Raises:
        RetortError: The extra `otel` is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise RetortError(NOT_INSTALLED) from None
    # The environment's service name takes precedence over ours.
    resource = Resource({SERVICE_NAME: service}).merge(OTELResourceDetector().detect())
    # The provider's own handler would wait for an unreachable collector until all attempts have failed.
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    atexit.register(shut_down, provider)
    return provider


def shut_down(provider: Any, timeout_s: float = SHUTDOWN_TIMEOUT_S) -> None:
    """Export the last spans, for at most `timeout_s`: the process must also end while the collector is down."""
    with _lock:
        if provider in _shut_down:
            return
        _shut_down.add(provider)
    thread = threading.Thread(target=provider.shutdown, name="last-spans", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if thread.is_alive():
        logger.warning("the last spans are lost: the collector does not answer; check OTEL_EXPORTER_OTLP_ENDPOINT")


def inject_trace() -> dict[str, str]:
    """Return the current trace context, to be stored with a row that another process handles; empty without a trace."""
    carrier: dict[str, str] = {}
    try:
        from opentelemetry.propagate import inject
    except ImportError:
        return carrier
    inject(carrier)
    return carrier


def extract_trace(carrier: Mapping[str, str]) -> Any:
    """Return the context that `inject_trace` returned."""
    from opentelemetry.propagate import extract

    return extract(carrier)
