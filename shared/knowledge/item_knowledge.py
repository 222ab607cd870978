"""What is known of items: texts of models, and people's corrections, which take precedence over them.

The offline side writes the texts; both sides read them and set corrections.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, delete, func, select

from retort.shared.base.errors import KnowledgeError
from retort.shared.base.hashing import hash_json
from retort.shared.base.schema import MAX_ID_LENGTH
from retort.shared.base.text import clean_text, id_fault
from retort.shared.db.models import DONE, FAILED, ItemCorrection, ItemKnowledge, now
from retort.shared.db.session import reading, transaction
from retort.shared.history.keys import DEFAULT_TENANT

_ITEMS_PER_QUERY = 500
MAX_TEXT_CHARS = 2_000


@dataclass(frozen=True)
class KnowledgeVersion:
    """One text of a model about an item. text: None where the model knows nothing."""

    text: str | None
    fields: dict[str, Any] | None
    model: str
    prompt_version: str
    created_at: datetime


@dataclass(frozen=True)
class RefusedText:
    """Why an item got no text in one request, and the reply if it was kept."""

    error: str
    reply: str | None
    model: str
    created_at: datetime


@dataclass(frozen=True)
class Correction:
    """A person's correction. text: None if the item may have no text."""

    item_id: str
    text: str | None
    set_at: datetime
    set_by: str | None


@dataclass(frozen=True)
class KnowledgeView:
    """One item's knowledge: the correction, if any, and the texts and refusals of models, newest first."""

    item_id: str
    correction: Correction | None
    versions: tuple[KnowledgeVersion, ...]
    refusals: tuple[RefusedText, ...]

    @property
    def text(self) -> str | None:
        """The text of the correction, otherwise the latest text of any model."""
        if self.correction is not None:
            return self.correction.text
        return self.versions[0].text if self.versions else None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is stored about an item of this id."""
        return self.correction is None and not self.versions and not self.refusals


def view_knowledge(engine: Engine, item_id: str, *, tenant: str = DEFAULT_TENANT) -> KnowledgeView:
    """Read what is known of an item; empty for an unknown item."""
    with reading(engine) as session:
        found = session.get(ItemCorrection, (tenant, item_id))
        query = select(ItemKnowledge).filter_by(tenant=tenant, item_id=item_id)
        rows = session.scalars(query.order_by(ItemKnowledge.created_at.desc(), ItemKnowledge.id.desc())).all()
        versions = tuple(
            KnowledgeVersion(row.text, row.fields, row.model, row.prompt_version, row.created_at)
            for row in rows
            if row.status == DONE
        )
        refusals = tuple(
            RefusedText(row.error or "unknown", row.parameters.get("rejected_reply"), row.model, row.created_at)
            for row in rows
            if row.status == FAILED
        )
        return KnowledgeView(item_id, None if found is None else _read(found), versions, refusals)


def correct_knowledge(
    engine: Engine, item_id: str, text: str | None, *, set_by: str | None = None, tenant: str = DEFAULT_TENANT
) -> Correction:
    """Set the text in force of an item, which every later description keeps. text: None forbids any text.

    Raises:
        KnowledgeError: The text is empty or too long, or the id cannot be one of an item.
    """
    _check_id(item_id)
    if text is not None:
        text = " ".join(clean_text(text).split())
        if not text:
            raise KnowledgeError(f"the knowledge of item {item_id!r} would be empty; write a text, or forbid it.")
        if len(text) > MAX_TEXT_CHARS:
            raise KnowledgeError(
                f"the knowledge of item {item_id!r} has {len(text)} characters, but the limit is {MAX_TEXT_CHARS}; "
                "shorten it."
            )
    row = ItemCorrection(tenant=tenant, item_id=item_id, text=text, set_at=now(), set_by=set_by)
    with transaction(engine) as session:
        return _read(session.merge(row))


def release_knowledge(engine: Engine, item_id: str, *, tenant: str = DEFAULT_TENANT) -> bool:
    """Withdraw a correction, so that the models' text is in force again. Returns False if there was none."""
    with transaction(engine) as session:
        deleted = session.execute(delete(ItemCorrection).filter_by(tenant=tenant, item_id=item_id))
        return bool(deleted.rowcount)  # type: ignore[attr-defined]


def find_corrections(engine: Engine, item_ids: Sequence[str], *, tenant: str = DEFAULT_TENANT) -> dict[str, Correction]:
    """Map item_id to correction for the items that have one."""
    found: dict[str, Correction] = {}
    with reading(engine) as session:
        for start in range(0, len(item_ids), _ITEMS_PER_QUERY):
            batch = item_ids[start : start + _ITEMS_PER_QUERY]
            query = select(ItemCorrection).filter_by(tenant=tenant).where(ItemCorrection.item_id.in_(batch))
            found |= {row.item_id: _read(row) for row in session.scalars(query)}
    return found


def all_corrections(engine: Engine, *, tenant: str = DEFAULT_TENANT) -> dict[str, Correction]:
    """Map item_id to correction for all items that have one."""
    with reading(engine) as session:
        return {row.item_id: _read(row) for row in session.scalars(select(ItemCorrection).filter_by(tenant=tenant))}


def corrections_state(engine: Engine, *, tenant: str = DEFAULT_TENANT) -> tuple[int, datetime | None]:
    """Return the number of corrections and the time of the newest one, which change with every correction."""
    query = select(func.count(), func.max(ItemCorrection.set_at)).filter_by(tenant=tenant)
    with reading(engine) as session:
        count, newest = session.execute(query.select_from(ItemCorrection)).one()
        return count, newest


def corrections_hash(engine: Engine, *, tenant: str = DEFAULT_TENANT) -> str | None:
    """Hash all corrections, so that results made before a new one are computed again; None without corrections."""
    query = select(ItemCorrection.item_id, ItemCorrection.text)
    with reading(engine) as session:
        rows = session.execute(query.filter_by(tenant=tenant).order_by(ItemCorrection.item_id)).all()
    return hash_json([list(row) for row in rows]) if rows else None


def _check_id(item_id: str) -> None:
    fault = id_fault(item_id) or ("is too long" if len(item_id) > MAX_ID_LENGTH else None if item_id else "is empty")
    if fault:
        raise KnowledgeError(f"the item id {item_id[:80]!r} {fault}; correct it.")


def _read(row: ItemCorrection) -> Correction:
    return Correction(row.item_id, row.text, row.set_at, row.set_by)
