"""What all tables are made of: lengths, words for how far something is, moments."""

from datetime import UTC, datetime

from sqlalchemy import DateTime, Dialect, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, MappedAsDataclass

from retort.shared.base.hashing import hash_json
from retort.shared.base.schema import MAX_ID_LENGTH

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
