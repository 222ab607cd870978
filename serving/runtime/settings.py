"""Where serving finds things and what it allows; environment variables `RETORT_…`, read once in `__main__`."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from retort.shared.base.schema import MAX_K
from retort.shared.history.keys import DEFAULT_TENANT


class ServingSettings(BaseSettings):
    """Beside `retort.shared.base.settings.Settings`, which names Redis, the database and the home directory."""

    model_config = SettingsConfigDict(
        env_file=".env", env_prefix="RETORT_", env_ignore_empty=True, extra="ignore", frozen=True
    )

    host: str = Field("127.0.0.1", description="address to bind; anything but loopback needs API keys")
    reached_at: str | None = Field(
        None, description="address at which callers reach a proxy or a container's port that stands before; unset: host"
    )
    port: int = Field(8000, ge=0, le=65535, description="0: any free port")
    workers: int = Field(1, ge=1, le=256, description="processes; each holds the bundle once")

    bundle: Path | None = Field(None, description="serve this bundle; unset: follow the registry's alias")
    alias: str = Field("champion", description="the registry's alias to follow")
    tenants: tuple[str, ...] = Field((DEFAULT_TENANT,), description="tenants to serve; JSON list")
    follow_every_s: float = Field(5.0, gt=0, description="how often the registry is asked for a new bundle")
    latency_gate_ms: float = Field(250.0, gt=0, description="a bundle whose median answer is slower is refused")
    threads: int = Field(1, ge=1, le=64, description="threads of one ONNX Runtime session")

    history_limit: int = Field(1000, ge=1, description="newest events of a user that an answer looks at")
    history_timeout_s: float = Field(0.25, gt=0, description="after this, Redis counts as away")
    deadline_s: float = Field(0.5, gt=0, description="after this, a request is answered from popularity")
    breaker_failures: int = Field(5, ge=1, description="failures in a row until Redis is left alone")
    breaker_rest_s: float = Field(2.0, gt=0, description="how long Redis is left alone")
    max_batch: int = Field(16, ge=1, le=1024, description="requests scored in one run of the graph")
    max_waiting: int = Field(256, ge=1, description="requests in the house at once; more are told to come back")

    experiment: Path | None = Field(None, description="JSON file with an experiment, holdout or shadow")
    max_lines: int = Field(1000, ge=1, le=100_000, description="lines in one batch")
    batch_deadline_s: float = Field(5.0, gt=0, description="the deadline of each line of a batch")
    keys_file: Path | None = Field(None, description="API keys as hashes; unset: no keys, loopback only")
    event_weights: dict[str, float] = Field(
        {"view": 1.0, "click": 1.0, "like": 1.0, "cart": 1.0, "purchase": 1.0, "rating": 1.0, "impression": 0.0},
        description="event types and what they weigh; 0 keeps a type out of the history; JSON object",
    )

    exposures_kept: int = Field(
        5_000, ge=0, description="batches of shown lists that wait for the drain, 100 lists at most each; 0: none kept"
    )
    max_k: int = Field(MAX_K, ge=1, le=MAX_K, description="items in one answer")
    max_body_bytes: int = Field(1_000_000, ge=1024, description="largest request body")
    static_items: tuple[str, ...] = Field(
        (), description="the last resort, where not even a bundle is there; JSON list"
    )

    console: bool = Field(True, description="a page at /console; it holds no data and asks the API like anybody else")
    traces: bool = Field(False, description="OpenTelemetry traces of requests; needs the extra otel, see OTEL_…")
    metrics_dir: Path | None = Field(None, description="shared by workers for /metrics; set by the entry point")
    leave_s: float = Field(
        0.0, ge=0, description="a stopping server goes on accepting so long, while /health/ready says 503"
    )
    drain_s: float = Field(20.0, gt=0, description="how long a stopping server waits for requests in flight")
