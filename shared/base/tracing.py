"""OpenTelemetry, for whoever has installed the extra `otel` and asked for traces; the rest never imports it.

Where spans go and how many are kept say the standard variables (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER`,
`OTEL_SERVICE_NAME`).
"""

from collections.abc import Mapping
from typing import Any

from retort.shared.base.errors import RetortError

NOT_INSTALLED = "RETORT_TRACES needs OpenTelemetry's packages; pip install 'retort-recsys[otel]'."


def tracer_provider(service: str) -> Any:
    """A tracer provider that sends over OTLP as the environment says; RetortError where the extra is not installed."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise RetortError(NOT_INSTALLED) from None
    # What the environment names stands above our name.
    provider = TracerProvider(resource=Resource({SERVICE_NAME: service}).merge(OTELResourceDetector().detect()))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def inject_trace() -> dict[str, str]:
    """The trace of now, for a row that somebody else will work on; empty where nothing is traced."""
    carrier: dict[str, str] = {}
    try:
        from opentelemetry.propagate import inject
    except ImportError:
        return carrier
    inject(carrier)
    return carrier


def extract_trace(carrier: Mapping[str, str]) -> Any:
    """The context that `carried` wrote down."""
    from opentelemetry.propagate import extract

    return extract(carrier)
