"""Profiles, the users' choices about them, and the refreshes that write them."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Double, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from retort.shared.base.schema import MAX_ID_LENGTH
from retort.shared.db.models.base import (
    HASH_LENGTH,
    NAME_LENGTH,
    NO_PARAMETERS,
    PENDING,
    TENANT_LENGTH,
    Base,
    LeasedRow,
    UtcTime,
    now,
)
from retort.shared.history.keys import DEFAULT_TENANT


class Profile(Base, kw_only=True):
    """Text that a language model wrote about one user's history, for one aspect."""

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
    """A user's choice about their own profile. It takes precedence over every text of a model.

    kind: `edited` or `pinned` (`text` is in force), or `erased` (no profile, and none may be written).
    """

    __tablename__ = "profile_choices"

    tenant: Mapped[str] = mapped_column(String(TENANT_LENGTH), primary_key=True, default=DEFAULT_TENANT)
    user_id: Mapped[str] = mapped_column(String(MAX_ID_LENGTH), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    text: Mapped[str | None] = mapped_column(Text, default=None)
    set_at: Mapped[datetime] = mapped_column(UtcTime, default_factory=now)
    set_by: Mapped[str | None] = mapped_column(String(MAX_ID_LENGTH), default=None)


class RefreshJob(Base, kw_only=True):
    """A refresh of profiles: `spec` says how texts are written; the chunks hold the progress."""

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


class RefreshChunk(LeasedRow, Base, kw_only=True):
    """Users of a refresh that one worker profiles together, with the lease.

    Tokens and cost count all attempts. done, written, reused and failed count the latest attempt: `done` counts users,
    the others count texts.
    """

    __tablename__ = "refresh_chunks"
    __table_args__ = (Index("ix_refresh_chunks_status", "status", "heartbeat_at"),)

    job_id: Mapped[str] = mapped_column(ForeignKey("refresh_jobs.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    n_users: Mapped[int]
    done: Mapped[int] = mapped_column(default=0)
    written: Mapped[int] = mapped_column(default=0)
    reused: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    prompt_tokens: Mapped[int] = mapped_column(BigInteger, default=0)
    completion_tokens: Mapped[int] = mapped_column(BigInteger, default=0)
    cost_usd: Mapped[float] = mapped_column(Double, default=0.0)
    problems: Mapped[dict[str, Any]] = mapped_column(JSON, default_factory=dict)
