"""The users' choices about their own profile: view, edit, pin or erase it.

A choice takes precedence over every text of a model, and refreshes skip such users. Serving's admin routes set choices;
the offline side respects them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, delete, select
from sqlalchemy.orm import Session

from retort.shared.base.errors import ProfileError
from retort.shared.base.hashing import hash_json
from retort.shared.base.text import clean_text
from retort.shared.db.models import DONE, EDITED, ERASED, FAILED, PINNED, Profile, ProfileChoice, now
from retort.shared.db.session import reading, transaction
from retort.shared.history.keys import DEFAULT_TENANT

_USERS_PER_QUERY = 500
MAX_TEXT_CHARS = 12_000


@dataclass(frozen=True)
class Version:
    """One text that a model wrote about the user."""

    aspect: str
    text: str
    model: str
    prompt_version: str
    n_events: int | None
    grounding: float | None
    created_at: datetime


@dataclass(frozen=True)
class Refusal:
    """A reply that the checks refused: no profile, but kept so that people can read why. text: None if not kept."""

    aspect: str
    error: str
    text: str | None
    model: str
    created_at: datetime


@dataclass(frozen=True)
class Choice:
    """A user's choice. text: None if the profile was erased."""

    user_id: str
    kind: str
    text: str | None
    set_at: datetime
    set_by: str | None


@dataclass(frozen=True)
class ProfileView:
    """One user's profile: the choice in force, if any, and the texts and refused replies of models, newest first."""

    user_id: str
    choice: Choice | None
    versions: tuple[Version, ...]
    refusals: tuple[Refusal, ...] = ()

    @property
    def text(self) -> str | None:
        """The text in force: that of the choice, otherwise the latest text of a model."""
        if self.choice is not None:
            return self.choice.text
        return self.versions[0].text if self.versions else None


def view_profile(engine: Engine, user_id: str, *, tenant: str = DEFAULT_TENANT) -> ProfileView:
    """Read a user's profile; empty for an unknown user."""
    with reading(engine) as session:
        choice, rows = _choice(session, tenant, user_id), _rows(session, tenant, user_id)
        return ProfileView(user_id, choice, _versions(rows), _refusals(rows))


def edit_profile(
    engine: Engine, user_id: str, text: str, *, set_by: str | None = None, tenant: str = DEFAULT_TENANT
) -> Choice:
    """Replace the model's text by the user's own, which every refresh keeps. Raises ProfileError for a bad text."""
    text = clean_text(text).strip()
    if not text:
        raise ProfileError(f"the profile of {user_id!r} would be empty; write a text or erase the profile.")
    if len(text) > MAX_TEXT_CHARS:
        raise ProfileError(
            f"the profile of {user_id!r} has {len(text)} characters, but the limit is {MAX_TEXT_CHARS}; shorten it."
        )
    return _set(engine, tenant, user_id, EDITED, text, set_by)


def pin_profile(engine: Engine, user_id: str, *, set_by: str | None = None, tenant: str = DEFAULT_TENANT) -> Choice:
    """Keep the text that is in force now through every refresh. Raises ProfileError if there is none."""
    text = view_profile(engine, user_id, tenant=tenant).text
    if text is None:
        raise ProfileError(f"user {user_id!r} has no profile to pin; write one with an edit.")
    return _set(engine, tenant, user_id, PINNED, text, set_by)


def erase_profile(engine: Engine, user_id: str, *, set_by: str | None = None, tenant: str = DEFAULT_TENANT) -> int:
    """Delete all texts of a user and forbid new ones. Returns the number of deleted texts."""
    with transaction(engine) as session:
        deleted = session.execute(delete(Profile).filter_by(tenant=tenant, user_id=user_id)).rowcount  # type: ignore[attr-defined]
        session.merge(ProfileChoice(tenant=tenant, user_id=user_id, kind=ERASED, text=None, set_by=set_by))
    return int(deleted)


def release_profile(engine: Engine, user_id: str, *, tenant: str = DEFAULT_TENANT) -> bool:
    """Withdraw a choice, so that models may write about the user again. Returns False if there was no choice."""
    with transaction(engine) as session:
        deleted = session.execute(delete(ProfileChoice).filter_by(tenant=tenant, user_id=user_id))
        return bool(deleted.rowcount)  # type: ignore[attr-defined]


def find_choices(engine: Engine, user_ids: Sequence[str], *, tenant: str = DEFAULT_TENANT) -> dict[str, Choice]:
    """Map user_id to choice for the users who made one."""
    found: dict[str, Choice] = {}
    with reading(engine) as session:
        for start in range(0, len(user_ids), _USERS_PER_QUERY):
            batch = user_ids[start : start + _USERS_PER_QUERY]
            rows = session.scalars(
                select(ProfileChoice).filter_by(tenant=tenant).where(ProfileChoice.user_id.in_(batch))
            )
            found |= {row.user_id: _read(row) for row in rows}
    return found


def choices_hash(engine: Engine, *, tenant: str = DEFAULT_TENANT) -> str | None:
    """Hash all choices, so that results made before a new choice are computed again; None without choices."""
    query = select(ProfileChoice.user_id, ProfileChoice.kind, ProfileChoice.text)
    with reading(engine) as session:
        rows = session.execute(query.filter_by(tenant=tenant).order_by(ProfileChoice.user_id)).all()
    return hash_json([list(row) for row in rows]) if rows else None


def _set(engine: Engine, tenant: str, user_id: str, kind: str, text: str, set_by: str | None) -> Choice:
    row = ProfileChoice(tenant=tenant, user_id=user_id, kind=kind, text=text, set_at=now(), set_by=set_by)
    with transaction(engine) as session:
        return _read(session.merge(row))


def _choice(session: Session, tenant: str, user_id: str) -> Choice | None:
    row = session.get(ProfileChoice, (tenant, user_id))
    return None if row is None else _read(row)


def _read(row: ProfileChoice) -> Choice:
    return Choice(row.user_id, row.kind, row.text, row.set_at, row.set_by)


def _rows(session: Session, tenant: str, user_id: str) -> Sequence[Profile]:
    query = select(Profile).filter_by(tenant=tenant, user_id=user_id)
    return session.scalars(query.order_by(Profile.created_at.desc(), Profile.id.desc())).all()


def _refusals(rows: Sequence[Profile]) -> tuple[Refusal, ...]:
    return tuple(
        Refusal(row.aspect, row.error or "unknown", row.parameters.get("rejected_reply"), row.model, row.created_at)
        for row in rows
        if row.status == FAILED
    )


def _versions(rows: Sequence[Profile]) -> tuple[Version, ...]:
    return tuple(
        Version(row.aspect, row.text, row.model, row.prompt_version, row.n_events, row.grounding, row.created_at)
        for row in rows
        if row.status == DONE and row.text is not None
    )
