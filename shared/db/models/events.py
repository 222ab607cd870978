"""Events of users, and exposures."""

from sqlalchemy import JSON, BigInteger, Double, Index, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from retort.shared.base.schema import MAX_ID_LENGTH
from retort.shared.db.models.base import EVENT_ID_LENGTH, HASH_LENGTH, NAME_LENGTH, TENANT_LENGTH, Base


class Event(Base, kw_only=True):
    """One event of a user or session, as serving accepted it. Rows are never changed.

    event_key: hash of owner and event_id, so that an event that is sent or drained twice is one row. In rows of
        earlier versions the item is part of it.
    id: order of arrival, which orders events of the same time.
    """

    __tablename__ = "events"
    __table_args__ = (
        UniqueConstraint("tenant", "event_key", name="uq_events_key"),
        Index("ix_events_user", "tenant", "user_id"),
        Index("ix_events_session", "tenant", "session_id"),
    )

    # SQLite increments only a column of the type INTEGER.
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
    """One list that serving returned and a user was shown. Rows are never changed.

    exposure_key: hash of request, time and first rank, so that a batch that is drained twice is stored once.
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
