"""Published bundles and their aliases."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, String, Text, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from retort.shared.base.schema import MAX_ID_LENGTH
from retort.shared.db.models.base import HASH_LENGTH, NAME_LENGTH, TENANT_LENGTH, Base, UtcTime, now
from retort.shared.history.keys import DEFAULT_TENANT


class BundleVersion(Base, kw_only=True):
    """A published bundle. Rows are never changed."""

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
    """The bundle to which a name such as `champion` points now."""

    __tablename__ = "aliases"

    tenant: Mapped[str] = mapped_column(String(TENANT_LENGTH), primary_key=True)
    alias: Mapped[str] = mapped_column(String(NAME_LENGTH), primary_key=True)
    bundle_id: Mapped[str] = mapped_column(String(HASH_LENGTH))
    set_at: Mapped[datetime] = mapped_column(UtcTime, default_factory=now)


class AliasChange(Base, kw_only=True):
    """One promotion; a rollback needs the earlier ones. withdrawn_at: time of its rollback.

    set_by: who moved the alias. reason: result of the promotion gate. forced: the gate refused or was skipped.
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
