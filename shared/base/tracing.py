"""OpenTelemetry traces, for installations with the extra `otel`; the packages are imported only when traces are on.

The standard variables configure exporter and sampling (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER`,
`OTEL_SERVICE_NAME`).
"""

from collections.abc import Mapping
from typing import Any

from retort.shared.base.errors import RetortError

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
    provider = TracerProvider(resource=Resource({SERVICE_NAME: service}).merge(OTELResourceDetector().detect()))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


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
