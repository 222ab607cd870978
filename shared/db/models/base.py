"""Parts shared by all tables: column lengths, status values, the time type and the columns of a leased row."""

from datetime import UTC, datetime

from sqlalchemy import DateTime, Dialect, String, Text, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column

from retort.shared.base.hashing import hash_json
from retort.shared.base.schema import MAX_ID_LENGTH

TENANT_LENGTH = 64
NAME_LENGTH = 128
HASH_LENGTH = 64
# Ids derived from an item and a time are longer than the ids that callers may send.
EVENT_ID_LENGTH = MAX_ID_LENGTH + 32

# Status of a run, a step, a chunk or an experiment unit.
PENDING, RUNNING, DONE, FAILED = "pending", "running", "done", "failed"
# Further status of a refresh: cancelled by a person, or stopped because its budget is spent.
CANCELLED, STOPPED = "cancelled", "stopped"
# A user's choice about their own profile.
EDITED, PINNED, ERASED = "edited", "pinned", "erased"

NO_PARAMETERS = hash_json({})


def now() -> datetime:
    """Return this process's time in UTC. Leases use `database_time` instead."""
    return datetime.now(UTC)


class UtcTime(TypeDecorator[datetime]):
    """A time in UTC. SQLite drops the zone, so times are stored in UTC and get the zone back when they are read."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored; use datetime.now(UTC)")
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase, MappedAsDataclass, kw_only=True):
    """All tables of this product."""


class LeasedRow(MappedAsDataclass, kw_only=True):
    """Columns of a row that at most one worker holds under a lease.

    lease: the fencing token of the present lease; every acquisition gets a new one.
    attempts: acquisitions that were not released. heartbeat_at: last heartbeat of the owner, by the database's clock.
    not_before: earliest time of the next attempt after a failed one.
    """

    status: Mapped[str] = mapped_column(String(16), default=PENDING)
    owner: Mapped[str | None] = mapped_column(String(MAX_ID_LENGTH), default=None)
    lease: Mapped[str | None] = mapped_column(String(32), default=None)
    attempts: Mapped[int] = mapped_column(default=0)
    not_before: Mapped[datetime | None] = mapped_column(UtcTime, default=None)
    heartbeat_at: Mapped[datetime | None] = mapped_column(UtcTime, default=None)
    started_at: Mapped[datetime | None] = mapped_column(UtcTime, default=None)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime, default=None)
    error: Mapped[str | None] = mapped_column(Text, default=None)
