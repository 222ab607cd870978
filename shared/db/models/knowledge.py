"""Item knowledge: texts that language models wrote about items, and people's corrections."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Double, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from retort.shared.base.schema import MAX_ID_LENGTH
from retort.shared.db.models.base import HASH_LENGTH, NAME_LENGTH, NO_PARAMETERS, TENANT_LENGTH, Base, UtcTime, now
from retort.shared.history.keys import DEFAULT_TENANT


class ItemKnowledge(Base, kw_only=True):
    """Text that a language model wrote about one item. `text` is null where the model knows nothing, or failed.

    content_hash: of everything that the prompt stated about the item. fields: field → phrases of the text.
    """

    __tablename__ = "item_knowledge"
    __table_args__ = (
        UniqueConstraint(
            "tenant",
            "item_id",
            "content_hash",
            "prompt_version",
            "model",
            "parameters_hash",
            name="uq_item_knowledge_question",
        ),
        Index("ix_item_knowledge_prompt", "tenant", "prompt_version", "model"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    tenant: Mapped[str] = mapped_column(String(TENANT_LENGTH), default=DEFAULT_TENANT)
    item_id: Mapped[str] = mapped_column(String(MAX_ID_LENGTH))
    content_hash: Mapped[str] = mapped_column(String(HASH_LENGTH))
    prompt_version: Mapped[str] = mapped_column(String(NAME_LENGTH))
    model: Mapped[str] = mapped_column(String(MAX_ID_LENGTH))
    parameters: Mapped[dict[str, Any]] = mapped_column(JSON, default_factory=dict)
    parameters_hash: Mapped[str] = mapped_column(String(HASH_LENGTH), default=NO_PARAMETERS)
    text: Mapped[str | None] = mapped_column(Text, default=None)
    fields: Mapped[dict[str, Any] | None] = mapped_column(JSON, default=None)
    prompt_tokens: Mapped[int | None] = mapped_column(default=None)
    completion_tokens: Mapped[int | None] = mapped_column(default=None)
    cost_usd: Mapped[float | None] = mapped_column(Double, default=None)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default_factory=now)
    status: Mapped[str] = mapped_column(String(16))
    error: Mapped[str | None] = mapped_column(Text, default=None)


class ItemCorrection(Base, kw_only=True):
    """A person's correction of an item's knowledge. It takes precedence over every text of a model.

    text: the text in force; null: the item may have no text.
    """

    __tablename__ = "item_corrections"

    tenant: Mapped[str] = mapped_column(String(TENANT_LENGTH), primary_key=True, default=DEFAULT_TENANT)
    item_id: Mapped[str] = mapped_column(String(MAX_ID_LENGTH), primary_key=True)
    text: Mapped[str | None] = mapped_column(Text, default=None)
    set_at: Mapped[datetime] = mapped_column(UtcTime, default_factory=now)
    set_by: Mapped[str | None] = mapped_column(String(MAX_ID_LENGTH), default=None)
