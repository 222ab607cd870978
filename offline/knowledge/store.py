"""Store of item knowledge: the database table of texts about items, on SQLite and PostgreSQL alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from retort.offline.common.chunking import batches
from retort.offline.common.database import retry_on_db_error
from retort.shared.base.text import clean_text
from retort.shared.db.models import DONE, FAILED, NO_PARAMETERS, ItemKnowledge, now
from retort.shared.db.session import reading, transaction
from retort.shared.history.keys import DEFAULT_TENANT
from retort.shared.knowledge.item_knowledge import Correction, find_corrections

_ROWS_AT_ONCE = 500  # both databases limit the parameters of one statement


class KnowledgeKey(NamedTuple):
    """Identifies a text besides the item and its content."""

    prompt_version: str
    model: str
    parameters_hash: str = NO_PARAMETERS


@dataclass(frozen=True)
class ItemRecord:
    """A text to store, or the reason why there is none (`error`). Neither: the model knows nothing of the item."""

    item_id: str
    content_hash: str
    key: KnowledgeKey
    text: str | None
    fields: Mapping[str, list[str]] | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_usd: float | None = None
    error: str | None = None


class StoredItem(NamedTuple):
    """A stored text. text: None where the model knows nothing, or where it failed (`error`)."""

    text: str | None
    fields: dict[str, Any] | None
    error: str | None
    created_at: datetime


class KnowledgeStore:
    """The `item_knowledge` table of one tenant."""

    def __init__(self, engine: sa.Engine, tenant: str = DEFAULT_TENANT, retry_for_s: float = 0.0) -> None:
        """Open the store.

        Args:
            retry_for_s: Seconds that each call waits for an unavailable database.
        """
        self._engine, self._tenant, self._retry_for_s = engine, tenant, retry_for_s

    def find(
        self, key: KnowledgeKey, item_ids: Sequence[str], *, any_model: bool = False
    ) -> dict[tuple[str, str], StoredItem]:
        """Return all stored texts of these items, by (item_id, content_hash).

        Args:
            any_model: Of every model; a text counts more than a failure, and then the newest.
        """
        return retry_on_db_error(lambda: self._find(key, item_ids, any_model), self._retry_for_s)

    def corrections(self, item_ids: Sequence[str]) -> dict[str, Correction]:
        """Return people's corrections of these items."""
        return retry_on_db_error(
            lambda: find_corrections(self._engine, item_ids, tenant=self._tenant), self._retry_for_s
        )

    def _find(self, key: KnowledgeKey, item_ids: Sequence[str], any_model: bool) -> dict[tuple[str, str], StoredItem]:
        row = ItemKnowledge
        columns = (row.item_id, row.content_hash, row.text, row.fields, row.status, row.error, row.created_at)
        model = sa.true() if any_model else row.model == key.model
        where = (row.tenant == self._tenant, row.prompt_version == key.prompt_version, model)
        found: dict[tuple[str, str], StoredItem] = {}
        with reading(self._engine) as session:
            for chunk in batches(item_ids, _ROWS_AT_ONCE):
                query = sa.select(*columns).where(*where, row.parameters_hash == key.parameters_hash)
                query = query.where(row.item_id.in_(chunk)).order_by(row.status == DONE, row.created_at)
                for item_id, digest, text, fields, status, error, at in session.execute(query):
                    done = status == DONE
                    found[item_id, digest] = StoredItem(text if done else None, fields, None if done else error, at)
        return found

    def save(self, records: Sequence[ItemRecord]) -> None:
        """Insert or replace the records: all of them, or none on an error."""
        if records:
            retry_on_db_error(lambda: self._save(records), self._retry_for_s)

    def _save(self, records: Sequence[ItemRecord]) -> None:
        with transaction(self._engine) as session:
            for chunk in batches(records, _ROWS_AT_ONCE):
                session.execute(self._upsert([self._row(record) for record in chunk]))

    def _row(self, record: ItemRecord) -> dict[str, Any]:
        return {
            "tenant": self._tenant,
            "item_id": record.item_id,
            "content_hash": record.content_hash,
            **record.key._asdict(),
            "parameters": record.parameters,
            "text": None if record.text is None else clean_text(record.text),
            "fields": None if record.fields is None else dict(record.fields),
            "prompt_tokens": record.prompt_tokens,
            "completion_tokens": record.completion_tokens,
            "cost_usd": record.cost_usd,
            "created_at": now(),
            "status": DONE if record.error is None else FAILED,
            "error": None if record.error is None else clean_text(record.error),
        }

    def _upsert(self, rows: list[dict[str, Any]]) -> Any:
        # a success replaces a stored failure, and a late duplicate of a reply replaces the first
        insert = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        statement: Any = insert(ItemKnowledge.__table__).values(rows)  # type: ignore[arg-type]
        key = ("tenant", "item_id", "content_hash", *KnowledgeKey._fields)
        changed = {name: statement.excluded[name] for name in rows[0] if name not in key}
        return statement.on_conflict_do_update(index_elements=key, set_=changed)
