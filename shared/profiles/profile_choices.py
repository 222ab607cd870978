"""What people decide about their own profile: see it, write it themselves, pin it, or have none.

A choice stands above everything that a model writes; refreshes leave such users alone. Both sides use it: the admin
routes set choices, the factory obeys them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, delete, select
from sqlalchemy.orm import Session

from retort.shared.base.errors import ProfileError
from retort.shared.base.hashing import hash_json
from retort.shared.db.models import DONE, EDITED, ERASED, PINNED, Profile, ProfileChoice, now
from retort.shared.db.session import reading, transaction
from retort.shared.history.keys import DEFAULT_TENANT

_AT_ONCE = 500
MAX_TEXT_CHARS = 12_000


@dataclass(frozen=True)
class Version:
    """One text that a model wrote, as its user may see it."""

    aspect: str
    text: str
    model: str
    prompt_version: str
    n_events: int | None
    grounding: float | None
    created_at: datetime


@dataclass(frozen=True)
class Choice:
    """A person's word. text: None where the profile was erased."""

    user_id: str
    kind: str
    text: str | None
    set_at: datetime
    set_by: str | None


@dataclass(frozen=True)
class ProfileView:
    """All that is kept of one user's profile: the choice that holds, if any, and the model's versions, newest first."""

    user_id: str
    choice: Choice | None
    versions: tuple[Version, ...]

    @property
    def text(self) -> str | None:
        """What is in force: the person's own text, else the model's latest."""
        if self.choice is not None:
            return self.choice.text
        return self.versions[0].text if self.versions else None


def view_profile(engine: Engine, user_id: str, *, tenant: str = DEFAULT_TENANT) -> ProfileView:
    """Everything kept of a user's profile; empty for a stranger."""
    with reading(engine) as session:
        return ProfileView(user_id, _choice(session, tenant, user_id), _versions(session, tenant, user_id))


def edit_profile(
    engine: Engine, user_id: str, text: str, *, set_by: str | None = None, tenant: str = DEFAULT_TENANT
) -> Choice:
    """Put a person's own words in the place of the model's; they survive every refresh."""
    text = text.strip()
    if not text:
        raise ProfileError(f"the profile of {user_id!r} would be empty; write a text, or erase it.")
    if len(text) > MAX_TEXT_CHARS:
        raise ProfileError(
            f"the profile of {user_id!r} has {len(text)} characters; at most {MAX_TEXT_CHARS} are kept: shorten it."
        )
    return _set(engine, tenant, user_id, EDITED, text, set_by)


def pin_profile(engine: Engine, user_id: str, *, set_by: str | None = None, tenant: str = DEFAULT_TENANT) -> Choice:
    """Keep the text that is in force now, whatever comes."""
    text = view_profile(engine, user_id, tenant=tenant).text
    if text is None:
        raise ProfileError(f"user {user_id!r} has no profile to pin; write one with an edit.")
    return _set(engine, tenant, user_id, PINNED, text, set_by)


def erase_profile(engine: Engine, user_id: str, *, set_by: str | None = None, tenant: str = DEFAULT_TENANT) -> int:
    """Delete every text of a user and let none be written again; how many texts that were."""
    with transaction(engine) as session:
        gone = session.execute(delete(Profile).filter_by(tenant=tenant, user_id=user_id)).rowcount  # type: ignore[attr-defined]
        session.merge(ProfileChoice(tenant=tenant, user_id=user_id, kind=ERASED, text=None, set_by=set_by))
    return int(gone)


def release_profile(engine: Engine, user_id: str, *, tenant: str = DEFAULT_TENANT) -> bool:
    """Withdraw a choice: models may write of this user again. False where there was none."""
    with transaction(engine) as session:
        gone = session.execute(delete(ProfileChoice).filter_by(tenant=tenant, user_id=user_id))
        return bool(gone.rowcount)  # type: ignore[attr-defined]


def find_choices(engine: Engine, user_ids: Sequence[str], *, tenant: str = DEFAULT_TENANT) -> dict[str, Choice]:
    """user_id → choice, of those who made one."""
    found: dict[str, Choice] = {}
    with reading(engine) as session:
        for start in range(0, len(user_ids), _AT_ONCE):
            some = user_ids[start : start + _AT_ONCE]
            rows = session.scalars(
                select(ProfileChoice).filter_by(tenant=tenant).where(ProfileChoice.user_id.in_(some))
            )
            found |= {row.user_id: _read(row) for row in rows}
    return found


def choices_hash(engine: Engine, *, tenant: str = DEFAULT_TENANT) -> str | None:
    """Names the state of all choices, so that what was made before one is made anew; None where nobody chose."""
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


def _versions(session: Session, tenant: str, user_id: str) -> tuple[Version, ...]:
    rows = session.scalars(
        select(Profile)
        .filter_by(tenant=tenant, user_id=user_id, status=DONE)
        .order_by(Profile.created_at.desc(), Profile.id.desc())
    )
    return tuple(
        Version(row.aspect, row.text, row.model, row.prompt_version, row.n_events, row.grounding, row.created_at)
        for row in rows
        if row.text is not None
    )
