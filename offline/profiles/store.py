"""Profile store: the database table of profiles, on SQLite and PostgreSQL alike."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from retort.offline.common.chunking import batches
from retort.offline.common.database import retry_on_db_error
from retort.shared.base.text import clean_text
from retort.shared.db.models import DONE, FAILED, NO_PARAMETERS, Profile, now
from retort.shared.db.session import reading, transaction
from retort.shared.history.keys import DEFAULT_TENANT
from retort.shared.profiles.profile_choices import Choice, find_choices

_ROWS_AT_ONCE = 500  # both databases limit the parameters of one statement


class ProfileKey(NamedTuple):
    """Identifies a profile besides user and history; two temperatures are two keys."""

    aspect: str
    prompt_version: str
    model: str
    parameters_hash: str = NO_PARAMETERS


@dataclass(frozen=True)
class Record:
    """A profile to store, or the reason why there is none (`error`)."""

    user_id: str
    history_hash: str
    key: ProfileKey
    text: str | None
    parameters: dict[str, Any] = field(default_factory=dict)
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    error: str | None = None
    n_events: int | None = None
    cost_usd: float | None = None
    faithfulness: float | None = None


class Stored(NamedTuple):
    """A stored profile of a user's history; `text` is None where the model failed."""

    text: str | None
    error: str | None
    faithfulness: float | None


class Latest(NamedTuple):
    """Newest profile of a user; n_events: length of the history that it was written from, None: unknown."""

    text: str
    n_events: int | None
    created_at: datetime


class ProfileStore:
    """The `profiles` table of one tenant."""

    def __init__(self, engine: sa.Engine, tenant: str = DEFAULT_TENANT, retry_for_s: float = 0.0) -> None:
        """Open the store.

        Args:
            retry_for_s: Seconds that each call waits for an unavailable database.
        """
        self._engine, self._tenant, self._retry_for_s = engine, tenant, retry_for_s

    def find(self, key: ProfileKey, user_ids: Sequence[str]) -> dict[tuple[str, str], Stored]:
        """Return all stored profiles of these users, by (user_id, history_hash)."""
        return retry_on_db_error(lambda: self._find(key, user_ids), self._retry_for_s)

    def choices(self, user_ids: Sequence[str]) -> dict[str, Choice]:
        """Return what these users decided about their own profiles."""
        return retry_on_db_error(lambda: find_choices(self._engine, user_ids, tenant=self._tenant), self._retry_for_s)

    def _find(self, key: ProfileKey, user_ids: Sequence[str]) -> dict[tuple[str, str], Stored]:
        columns = (
            Profile.user_id,
            Profile.history_hash,
            Profile.text,
            Profile.status,
            Profile.error,
            Profile.grounding,
        )
        found: dict[tuple[str, str], Stored] = {}
        with reading(self._engine) as session:
            for chunk in batches(user_ids, _ROWS_AT_ONCE):
                rows = session.execute(sa.select(*columns).where(*self._where(key), Profile.user_id.in_(chunk)))
                for user_id, digest, text, status, error, faithfulness in rows:
                    found[user_id, digest] = Stored(text if status == DONE else None, error, faithfulness)
        return found

    def latest(self, key: ProfileKey, user_ids: Sequence[str], *, any_model: bool = False) -> dict[str, Latest]:
        """Return the newest text of each user, from whatever history.

        Args:
            any_model: Accept the texts of every model.
        """
        return retry_on_db_error(lambda: self._latest(key, user_ids, any_model), self._retry_for_s)

    def _latest(self, key: ProfileKey, user_ids: Sequence[str], any_model: bool) -> dict[str, Latest]:
        where = self._where(key, any_model)
        columns = (Profile.user_id, Profile.text, Profile.n_events, Profile.created_at)
        found: dict[str, Latest] = {}
        with reading(self._engine) as session:
            for chunk in batches(user_ids, _ROWS_AT_ONCE):
                query = sa.select(*columns).where(*where, Profile.user_id.in_(chunk), Profile.status == DONE)
                for user_id, text, n_events, created_at in session.execute(query.order_by(Profile.created_at)):
                    if text is not None:
                        found[user_id] = Latest(text, n_events, created_at)
        return found

    def save(self, records: Sequence[Record]) -> None:
        """Insert or replaces the records: all of them, or none on an error."""
        if records:
            retry_on_db_error(lambda: self._save(records), self._retry_for_s)

    def _save(self, records: Sequence[Record]) -> None:
        with transaction(self._engine) as session:
            for chunk in batches(records, _ROWS_AT_ONCE):
                session.execute(self._upsert([self._row(record) for record in chunk]))

    def count(self, status: str = DONE) -> int:
        """Return the number of rows of this tenant with that status."""
        where = (Profile.tenant == self._tenant, Profile.status == status)
        with reading(self._engine) as session:
            return session.execute(sa.select(sa.func.count()).select_from(Profile).where(*where)).scalar_one()

    def _where(self, key: ProfileKey, any_model: bool = False) -> tuple[sa.ColumnElement[bool], ...]:
        return (
            Profile.tenant == self._tenant,
            Profile.aspect == key.aspect,
            Profile.prompt_version == key.prompt_version,
            sa.true() if any_model else Profile.model == key.model,
            Profile.parameters_hash == key.parameters_hash,
        )

    def _row(self, record: Record) -> dict[str, Any]:
        return {
            "tenant": self._tenant,
            "user_id": record.user_id,
            **record.key._asdict(),
            "history_hash": record.history_hash,
            "parameters": record.parameters,
            "text": None if record.text is None else clean_text(record.text),
            "prompt_tokens": record.prompt_tokens,
            "completion_tokens": record.completion_tokens,
            "n_events": record.n_events,
            "cost_usd": record.cost_usd,
            "grounding": record.faithfulness,
            "created_at": now(),
            "status": DONE if record.error is None else FAILED,
            "error": None if record.error is None else clean_text(record.error),
        }

    def _upsert(self, rows: list[dict[str, Any]]) -> Any:
        # a success replaces a stored failure, and a late duplicate of a reply replaces the first
        insert = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        statement: Any = insert(Profile.__table__).values(rows)  # type: ignore[arg-type]
        key = ("tenant", "user_id", "history_hash", *ProfileKey._fields)
        changed = {name: statement.excluded[name] for name in rows[0] if name not in key}
        return statement.on_conflict_do_update(index_elements=key, set_=changed)
