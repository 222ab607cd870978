"""Runs, their steps, and the units and results of offline experiments."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from retort.shared.db.models.base import (
    HASH_LENGTH,
    NAME_LENGTH,
    PENDING,
    TENANT_LENGTH,
    Base,
    LeasedRow,
    UtcTime,
    now,
)
from retort.shared.history.keys import DEFAULT_TENANT


class Run(Base, kw_only=True):
    """One run of a recipe on one data set, from raw files to a published bundle."""

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


class Step(LeasedRow, Base, kw_only=True):
    """One step of a run: its progress and its lease."""

    __tablename__ = "steps"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH), primary_key=True)
    position: Mapped[int]
    queue: Mapped[str] = mapped_column(String(16))
    what: Mapped[str | None] = mapped_column(Text, default=None)
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int | None] = mapped_column(default=None)


class ExperimentUnit(LeasedRow, Base, kw_only=True):
    """One unit of an offline experiment that Celery workers train: its lease and, if it failed, its error.

    id: hash of the path of the unit's record. The record itself is a file in the experiment's folder.
    """

    __tablename__ = "experiment_units"

    id: Mapped[str] = mapped_column(String(HASH_LENGTH), primary_key=True)
    record: Mapped[str] = mapped_column(Text)


class OfflineResult(Base, kw_only=True):
    """Table of an offline experiment for the console, stored by `retort experiment publish`.

    document: an `OfflineTable` of `shared/model/offline_results.py`.
    """

    __tablename__ = "offline_results"

    tenant: Mapped[str] = mapped_column(String(TENANT_LENGTH), primary_key=True, default=DEFAULT_TENANT)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH), primary_key=True)
    document: Mapped[dict[str, Any]] = mapped_column(JSON)
    published_at: Mapped[datetime] = mapped_column(UtcTime, default_factory=now)
