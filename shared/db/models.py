"""The tables: profiles and their refreshes, runs and their steps, bundles and their aliases, what users did."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column

from shared.hashing import hash_json
from shared.keys import DEFAULT_TENANT
from shared.schema import MAX_ID_LENGTH

TENANT_LENGTH = 64
NAME_LENGTH = 128
HASH_LENGTH = 64
# Ids that are derived from an item and a time are longer than what callers may send.
EVENT_ID_LENGTH = MAX_ID_LENGTH + 32

# What a run or step may say of itself.
PENDING, RUNNING, DONE, FAILED = "pending", "running", "done", "failed"
# A refresh may besides have been called off by a person, or have spent what it may.
CANCELLED, STOPPED = "cancelled", "stopped"
# A person's word about their own profile.
EDITED, PINNED, ERASED = "edited", "pinned", "erased"

NO_PARAMETERS = hash_json({})


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


class UtcTime(TypeDecorator[datetime]):
    """A moment. SQLite drops the zone, so all moments are stored in UTC and get it back when read."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("a moment without a zone cannot be stored; use datetime.now(UTC)")
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase, MappedAsDataclass, kw_only=True):
    """All tables of this product."""


class Profile(Base, kw_only=True):
    """What a language model wrote of one user's history, for one aspect."""

    __tablename__ = "profiles"
    __table_args__ = (
        UniqueConstraint(
            "tenant",
            "user_id",
            "aspect",
            "history_hash",
            "prompt_version",
            "model",
            "parameters_hash",
            name="uq_profiles_question",
        ),
        Index("ix_profiles_prompt", "tenant", "prompt_version", "model"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    tenant: Mapped[str] = mapped_column(String(TENANT_LENGTH), default=DEFAULT_TENANT)
    user_id: Mapped[str] = mapped_column(String(MAX_ID_LENGTH))
    aspect: Mapped[str] = mapped_column(String(NAME_LENGTH))
    history_hash: Mapped[str] = mapped_column(String(HASH_LENGTH))
    prompt_version: Mapped[str] = mapped_column(String(NAME_LENGTH))
    model: Mapped[str] = mapped_column(String(MAX_ID_LENGTH))
    parameters: Mapped[dict[str, Any]] = mapped_column(JSON, default_factory=dict)
    parameters_hash: Mapped[str] = mapped_column(String(HASH_LENGTH), default=NO_PARAMETERS)
    text: Mapped[str | None] = mapped_column(Text, default=None)
    n_events: Mapped[int | None] = mapped_column(default=None)
    prompt_tokens: Mapped[int | None] = mapped_column(default=None)
    completion_tokens: Mapped[int | None] = mapped_column(default=None)
    cost_usd: Mapped[float | None] = mapped_column(Double, default=None)
    grounding: Mapped[float | None] = mapped_column(Double, default=None)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default_factory=now)
    status: Mapped[str] = mapped_column(String(16), default="ok")
    error: Mapped[str | None] = mapped_column(Text, default=None)


class ProfileChoice(Base, kw_only=True):
    """What a person decided about their own profile: it stands above anything that a model writes.

    kind: `edited` or `pinned` (text holds), or `erased` (no profile, and none is to be written).
    """

    __tablename__ = "profile_choices"

    tenant: Mapped[str] = mapped_column(String(TENANT_LENGTH), primary_key=True, default=DEFAULT_TENANT)
    user_id: Mapped[str] = mapped_column(String(MAX_ID_LENGTH), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    text: Mapped[str | None] = mapped_column(Text, default=None)
    set_at: Mapped[datetime] = mapped_column(UtcTime, default_factory=now)
    set_by: Mapped[str | None] = mapped_column(String(MAX_ID_LENGTH), default=None)


class RefreshJob(Base, kw_only=True):
    """Profiles that are to be written: of whom stands in the job's snapshot, how in `spec`, how far in its chunks."""

    __tablename__ = "refresh_jobs"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    tenant: Mapped[str] = mapped_column(String(TENANT_LENGTH), default=DEFAULT_TENANT)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    spec: Mapped[dict[str, Any]] = mapped_column(JSON)
    status: Mapped[str] = mapped_column(String(16), default=PENDING, index=True)
    n_users: Mapped[int]
    n_chunks: Mapped[int]
    budget_tokens: Mapped[int | None] = mapped_column(BigInteger, default=None)
    budget_usd: Mapped[float | None] = mapped_column(Double, default=None)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default_factory=now)
    started_at: Mapped[datetime | None] = mapped_column(UtcTime, default=None)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime, default=None)
    error: Mapped[str | None] = mapped_column(Text, default=None)


class RefreshChunk(Base, kw_only=True):
    """Some users of a refresh, worked on together. The row is the lease: `lease` names this one taking of it.

    Tokens and cost are of all attempts; done, written, reused and failed (users or texts) of the latest.
    """

    __tablename__ = "refresh_chunks"
    __table_args__ = (Index("ix_refresh_chunks_status", "status", "heartbeat_at"),)

    job_id: Mapped[str] = mapped_column(ForeignKey("refresh_jobs.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    n_users: Mapped[int]
    status: Mapped[str] = mapped_column(String(16), default=PENDING)
    owner: Mapped[str | None] = mapped_column(String(MAX_ID_LENGTH), default=None)
    lease: Mapped[str | None] = mapped_column(String(32), default=None)
    attempts: Mapped[int] = mapped_column(default=0)
    not_before: Mapped[datetime | None] = mapped_column(UtcTime, default=None)
    heartbeat_at: Mapped[datetime | None] = mapped_column(UtcTime, default=None)
    started_at: Mapped[datetime | None] = mapped_column(UtcTime, default=None)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime, default=None)
    done: Mapped[int] = mapped_column(default=0)
    written: Mapped[int] = mapped_column(default=0)
    reused: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    prompt_tokens: Mapped[int] = mapped_column(BigInteger, default=0)
    completion_tokens: Mapped[int] = mapped_column(BigInteger, default=0)
    cost_usd: Mapped[float] = mapped_column(Double, default=0.0)
    problems: Mapped[dict[str, Any]] = mapped_column(JSON, default_factory=dict)
    error: Mapped[str | None] = mapped_column(Text, default=None)


class Run(Base, kw_only=True):
    """One recipe on one data set, from raw files to a published bundle."""

    __tablename__ = "runs"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    tenant: Mapped[str] = mapped_column(String(TENANT_LENGTH), default=DEFAULT_TENANT)
    recipe_name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    recipe: Mapped[dict[str, Any]] = mapped_column(JSON)
    data_dir: Mapped[str] = mapped_column(Text)
    out_dir: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(16), default=PENDING, index=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default_factory=now)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime, default=None)
    bundle: Mapped[str | None] = mapped_column(Text, default=None)
    error: Mapped[str | None] = mapped_column(Text, default=None)


class Step(Base, kw_only=True):
    """How far one step of a run is."""

    __tablename__ = "steps"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH), primary_key=True)
    position: Mapped[int]
    queue: Mapped[str] = mapped_column(String(16))
    status: Mapped[str] = mapped_column(String(16), default=PENDING)
    what: Mapped[str | None] = mapped_column(Text, default=None)
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int | None] = mapped_column(default=None)
    attempts: Mapped[int] = mapped_column(default=0)
    owner: Mapped[str | None] = mapped_column(String(MAX_ID_LENGTH), default=None)
    started_at: Mapped[datetime | None] = mapped_column(UtcTime, default=None)
    heartbeat_at: Mapped[datetime | None] = mapped_column(UtcTime, default=None)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime, default=None)
    error: Mapped[str | None] = mapped_column(Text, default=None)


class BundleVersion(Base, kw_only=True):
    """A published bundle. Rows are written once and never changed."""

    __tablename__ = "bundles"
    __table_args__ = (
        UniqueConstraint("tenant", "bundle_id", name="uq_bundles_id"),
        UniqueConstraint("tenant", "name", "version", name="uq_bundles_version"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    tenant: Mapped[str] = mapped_column(String(TENANT_LENGTH), default=DEFAULT_TENANT)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    version: Mapped[int]
    bundle_id: Mapped[str] = mapped_column(String(HASH_LENGTH))
    uri: Mapped[str] = mapped_column(Text)
    metrics: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default_factory=now)


class Alias(Base, kw_only=True):
    """The bundle that a name such as `champion` means now."""

    __tablename__ = "aliases"

    tenant: Mapped[str] = mapped_column(String(TENANT_LENGTH), primary_key=True)
    alias: Mapped[str] = mapped_column(String(NAME_LENGTH), primary_key=True)
    bundle_id: Mapped[str] = mapped_column(String(HASH_LENGTH))
    set_at: Mapped[datetime] = mapped_column(UtcTime, default_factory=now)


class AliasChange(Base, kw_only=True):
    """Every promotion, so that a rollback knows what was there before. `withdrawn_at`: when it was rolled back.

    set_by, reason: who moved the alias and what the gate said; forced: against the gate, or past it.
    """

    __tablename__ = "alias_changes"
    __table_args__ = (Index("ix_alias_changes_alias", "tenant", "alias", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    tenant: Mapped[str] = mapped_column(String(TENANT_LENGTH))
    alias: Mapped[str] = mapped_column(String(NAME_LENGTH))
    bundle_id: Mapped[str] = mapped_column(String(HASH_LENGTH))
    set_at: Mapped[datetime] = mapped_column(UtcTime, default_factory=now)
    withdrawn_at: Mapped[datetime | None] = mapped_column(UtcTime, default=None)
    set_by: Mapped[str | None] = mapped_column(String(MAX_ID_LENGTH), default=None)
    reason: Mapped[str | None] = mapped_column(Text, default=None)
    forced: Mapped[bool] = mapped_column(default=False, server_default=false())


class Event(Base, kw_only=True):
    """What somebody did, as serving accepted it; rows are written once.

    event_key: hash of owner, item and event_id, so that an event that is sent or handed over twice is one row.
    id: the order of arrival, which decides between events of the same time.
    """

    __tablename__ = "events"
    __table_args__ = (
        UniqueConstraint("tenant", "event_key", name="uq_events_key"),
        Index("ix_events_user", "tenant", "user_id"),
        Index("ix_events_session", "tenant", "session_id"),
    )

    # SQLite counts only a column of the type INTEGER up by itself.
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, init=False)
    tenant: Mapped[str] = mapped_column(String(TENANT_LENGTH))
    event_key: Mapped[str] = mapped_column(String(32))
    event_id: Mapped[str] = mapped_column(String(EVENT_ID_LENGTH))
    user_id: Mapped[str | None] = mapped_column(String(MAX_ID_LENGTH))
    session_id: Mapped[str | None] = mapped_column(String(MAX_ID_LENGTH))
    item_id: Mapped[str] = mapped_column(String(MAX_ID_LENGTH))
    event_type: Mapped[str] = mapped_column(String(NAME_LENGTH))
    weight: Mapped[float] = mapped_column(Double)
    value: Mapped[float | None] = mapped_column(Double)
    time_ms: Mapped[int] = mapped_column(BigInteger)
    accepted_ms: Mapped[int] = mapped_column(BigInteger)
    request_id: Mapped[str | None] = mapped_column(String(MAX_ID_LENGTH))
    impressions: Mapped[list[str]] = mapped_column(JSON)


class Exposure(Base, kw_only=True):
    """One list that was shown, as serving answered it; rows are written once.

    exposure_key: hash of request, moment and place, so that a batch that is handed over twice is there once.
    """

    __tablename__ = "exposures"
    __table_args__ = (
        UniqueConstraint("tenant", "exposure_key", name="uq_exposures_key"),
        Index("ix_exposures_user", "tenant", "user_id"),
        Index("ix_exposures_session", "tenant", "session_id"),
        Index("ix_exposures_request", "tenant", "request_id"),
    )

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, init=False)
    tenant: Mapped[str] = mapped_column(String(TENANT_LENGTH))
    exposure_key: Mapped[str] = mapped_column(String(32))
    request_id: Mapped[str] = mapped_column(String(MAX_ID_LENGTH))
    user_id: Mapped[str | None] = mapped_column(String(MAX_ID_LENGTH))
    session_id: Mapped[str | None] = mapped_column(String(MAX_ID_LENGTH))
    source: Mapped[str] = mapped_column(String(NAME_LENGTH))
    reason: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    model: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    version: Mapped[str | None] = mapped_column(String(HASH_LENGTH))
    experiment: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    variant: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    first_rank: Mapped[int]
    item_ids: Mapped[list[str]] = mapped_column(JSON)
    shown_ms: Mapped[int] = mapped_column(BigInteger)
