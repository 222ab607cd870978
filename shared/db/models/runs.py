"""Runs and their steps."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from retort.shared.base.schema import MAX_ID_LENGTH
from retort.shared.db.models.base import NAME_LENGTH, PENDING, TENANT_LENGTH, Base, UtcTime, now
from retort.shared.history.keys import DEFAULT_TENANT


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
