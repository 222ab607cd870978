"""Settings of serving, from the environment variables `RETORT_…`; read once in `__main__`."""

import re
from pathlib import Path
from typing import Any

from pydantic import Field
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from retort.shared.base.schema import MAX_K
from retort.shared.base.settings import UNSET
from retort.shared.history.keys import DEFAULT_TENANT

# Kubernetes and Docker links write such an address into every container of a namespace, in a variable that is named
# after the service: RETORT_PORT for a service `retort`.
_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://\S+:\d+")


class _Environment(EnvSettingsSource):
    """Environment without service links, which are no settings."""

    def __call__(self) -> dict[str, Any]:
        values = super().__call__()
        return {name: value for name, value in values.items() if not _is_service_link(value)}


def _is_service_link(value: Any) -> bool:
    return isinstance(value, str) and _SERVICE_LINK.fullmatch(value) is not None


class ServingSettings(BaseSettings):
    """Settings of serving; Redis, the database and the home directory are in `retort.shared.base.settings.Settings`."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_prefix="RETORT_",
        env_ignore_empty=True,
        env_parse_none_str=UNSET,
        extra="ignore",
        frozen=True,
    )

    host: str = Field("127.0.0.1", description="address to bind; any address but loopback requires API keys")
    reached_at: str | None = Field(
        None, description="address at which callers reach the proxy or container in front of the server; unset: host"
    )
    port: int = Field(8000, ge=0, le=65535, description="0: any free port")
    workers: int = Field(1, ge=1, le=256, description="worker processes; each loads the bundle")

    bundle: Path | None = Field(None, description="bundle to serve; unset: follow the registry's alias")
    alias: str = Field("champion", description="alias of the registry to follow")
    tenants: tuple[str, ...] = Field((DEFAULT_TENANT,), description="tenants to serve; JSON list")
    follow_every_s: float = Field(5.0, gt=0, description="seconds between reads of the registry")
    latency_gate_ms: float = Field(250.0, gt=0, description="a bundle whose median latency is higher is refused")
    threads: int = Field(1, ge=1, le=64, description="threads of one ONNX Runtime session")

    history_limit: int = Field(1000, ge=1, description="newest events of a user that are read for a recommendation")
    history_timeout_s: float = Field(0.25, gt=0, description="timeout of a read from Redis")
    deadline_s: float = Field(0.5, gt=0, description="after this time the response falls back to popularity")
    breaker_failures: int = Field(5, ge=1, description="failures in a row that open the circuit breaker of Redis")
    breaker_rest_s: float = Field(2.0, gt=0, description="seconds for which the circuit breaker stays open")
    max_batch: int = Field(16, ge=1, le=1024, description="requests scored in one run of the graph")
    max_waiting: int = Field(256, ge=1, description="requests in flight; further ones are refused with 503")

    experiment: Path | None = Field(None, description="JSON file of an A/B test with variants, holdout or shadow")
    max_lines: int = Field(1000, ge=1, le=100_000, description="lines of one batch request")
    batch_deadline_s: float = Field(5.0, gt=0, description="deadline of each line of a batch")
    keys_file: Path | None = Field(None, description="file of hashed API keys; unset: no keys, loopback only")
    event_weights: dict[str, float] = Field(
        {"view": 1.0, "click": 1.0, "like": 1.0, "cart": 1.0, "purchase": 1.0, "rating": 1.0, "impression": 0.0},
        description="weights of the event types; 0 keeps a type out of the history; JSON object",
    )

    exposures_kept: int = Field(
        5_000, ge=0, description="batches of at most 100 exposures that wait to be drained; 0: none are recorded"
    )
    max_k: int = Field(MAX_K, ge=1, le=MAX_K, description="items in one response")
    max_body_bytes: int = Field(1_000_000, ge=1024, description="largest request body in bytes")
    read_timeout_s: float = Field(
        10.0, gt=0, description="seconds in which the head of a request, and then its body, must arrive; otherwise 408"
    )
    max_connections: int = Field(
        8192, ge=1, description="connections of one worker; a further one closes the longest idle one"
    )
    static_items: tuple[str, ...] = Field((), description="items to return when no bundle is loaded; JSON list")

    console: bool = Field(True, description="serve the console at /console; it calls the public API")
    traces: bool = Field(
        False, description="OpenTelemetry traces of requests; requires the extra otel, configured by OTEL_…"
    )
    metrics_dir: Path | None = Field(
        None, description="directory in which workers share their metrics; set by the entry point"
    )
    leave_s: float = Field(
        0.0,
        ge=0,
        description="seconds for which a stopping server still accepts requests while /health/ready returns 503",
    )
    drain_s: float = Field(20.0, gt=0, description="seconds for which a stopping server waits for requests in flight")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, _Environment(settings_cls), dotenv_settings, file_secret_settings
