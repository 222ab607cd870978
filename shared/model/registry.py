"""Model registry: immutable bundle versions, aliases that point to them, promotion and rollback.

A bundle is published once and never changes. An alias (`champion`, `challenger`, any name) points to one version;
`promote` moves it, and `rollback` withdraws the last promotion that is still valid. Serving calls `resolve` in the
background.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from retort.shared.base.errors import RetortError
from retort.shared.db.models import Alias, AliasChange, BundleVersion, now
from retort.shared.db.session import reading, transaction
from retort.shared.history.keys import DEFAULT_TENANT
from retort.shared.model.manifest import Manifest

CHAMPION = "champion"
CHALLENGER = "challenger"


class RegistryError(RetortError):
    """A version or alias that does not exist or cannot be moved."""


class AliasMovedError(RegistryError):
    """The alias points to another bundle than the caller expected."""


@dataclass(frozen=True)
class Published:
    """A published bundle and the aliases that point to it now; `uri`: location of its files."""

    tenant: str
    name: str
    version: int
    bundle_id: str
    uri: str
    metrics: dict[str, Any]
    created_at: datetime
    aliases: tuple[str, ...] = ()


def publish(engine: Engine, manifest: Manifest, uri: str, *, tenant: str = DEFAULT_TENANT) -> Published:
    """Register a sealed bundle as the next version of its name; publishing it again changes nothing."""
    with transaction(engine) as session:
        row = _find(session, tenant, manifest.bundle_id)
        if row is None:
            _lock_name(session, tenant, manifest.name)
            last = session.scalar(select(func.max(BundleVersion.version)).filter_by(tenant=tenant, name=manifest.name))
            row = BundleVersion(
                tenant=tenant,
                name=manifest.name,
                version=(last or 0) + 1,
                bundle_id=manifest.bundle_id,
                uri=uri,
                metrics=manifest.metrics,
            )
            session.add(row)
        return _published(session, row)


def promote(
    engine: Engine,
    reference: str,
    alias: str = CHAMPION,
    *,
    tenant: str = DEFAULT_TENANT,
    set_by: str | None = None,
    reason: str | None = None,
    forced: bool = False,
    expected: str | None = None,
) -> Published:
    """Point an alias to a bundle.

    Args:
        reference: Bundle id, the start of one, `name@version`, or another alias.
        set_by: Stored with the change, as are `reason` and `forced`; the caller decides whether the change is allowed.
        expected: Bundle that the alias must point to before; None: any.

    Raises:
        RegistryError: There is no such bundle.
        AliasMovedError: The alias points to another bundle than expected.
    """
    with transaction(engine) as session:
        _lock_name(session, tenant, alias)
        row = _lookup(session, tenant, reference)
        if expected is not None and (target := _alias_target(session, tenant, alias)) not in (expected, row.bundle_id):
            raise AliasMovedError(f"{alias} points to {target} and no longer to {expected}; start again from there.")
        if _alias_target(session, tenant, alias) != row.bundle_id:
            change = AliasChange(
                tenant=tenant, alias=alias, bundle_id=row.bundle_id, set_by=set_by, reason=reason, forced=forced
            )
            session.add(change)
            session.merge(Alias(tenant=tenant, alias=alias, bundle_id=row.bundle_id, set_at=now()))
            session.flush()
        return _published(session, row)


@dataclass(frozen=True)
class Change:
    """A stored promotion; withdrawn_at: when it was rolled back."""

    alias: str
    bundle_id: str
    set_at: datetime
    withdrawn_at: datetime | None
    set_by: str | None
    reason: str | None
    forced: bool


def changes(engine: Engine, *, tenant: str = DEFAULT_TENANT, limit: int = 50) -> list[Change]:
    """Return the latest promotions of all aliases, newest first."""
    with reading(engine) as session:
        query = select(AliasChange).filter_by(tenant=tenant).order_by(AliasChange.id.desc()).limit(limit)
        return [
            Change(row.alias, row.bundle_id, row.set_at, row.withdrawn_at, row.set_by, row.reason, row.forced)
            for row in session.scalars(query)
        ]


def rollback(engine: Engine, alias: str = CHAMPION, *, tenant: str = DEFAULT_TENANT) -> Published:
    """Withdraw the alias' last promotion, so that it points to the one before. Can be repeated.

    Raises:
        RegistryError: There is no earlier promotion.
    """
    with transaction(engine) as session:
        _lock_name(session, tenant, alias)
        valid = session.scalars(
            select(AliasChange)
            .filter_by(tenant=tenant, alias=alias, withdrawn_at=None)
            .order_by(AliasChange.id.desc())
            .limit(2)
        ).all()
        if len(valid) < 2:
            raise RegistryError(
                f"alias {alias!r} has no earlier promotion to return to; promote another bundle instead."
            )
        latest, before = valid
        latest.withdrawn_at = now()
        session.merge(Alias(tenant=tenant, alias=alias, bundle_id=before.bundle_id, set_at=now()))
        session.flush()
        return _published(session, _lookup(session, tenant, before.bundle_id))


def resolve(engine: Engine, reference: str = CHAMPION, *, tenant: str = DEFAULT_TENANT) -> Published:
    """Return the bundle of an alias, an id, the start of an id, or `name@version`.

    Raises:
        RegistryError: There is none, or several ids have this start.
    """
    with reading(engine) as session:
        return _published(session, _lookup(session, tenant, reference))


def aliases(engine: Engine, *, tenant: str = DEFAULT_TENANT) -> dict[str, str]:
    """Return alias → bundle_id of a tenant."""
    with reading(engine) as session:
        rows = session.scalars(select(Alias).filter_by(tenant=tenant).order_by(Alias.alias))
        return {row.alias: row.bundle_id for row in rows}


def list_published(engine: Engine, *, tenant: str = DEFAULT_TENANT, limit: int | None = None) -> list[Published]:
    """Return all versions, or the newest `limit`, newest first."""
    with reading(engine) as session:
        query = select(BundleVersion).filter_by(tenant=tenant).order_by(BundleVersion.id.desc()).limit(limit)
        rows = session.scalars(query)
        return [_published(session, row) for row in rows.all()]


def _lookup(session: Session, tenant: str, reference: str) -> BundleVersion:
    target = _alias_target(session, tenant, reference)
    row = _find(session, tenant, target or reference) or _by_version(session, tenant, reference)
    if row is not None:
        return row
    candidates = _starting_with(session, tenant, reference)
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise RegistryError(f"{reference!r} is the start of {len(candidates)} bundle ids; give more characters.")
    raise RegistryError(
        f"there is no bundle or alias {reference!r} of tenant {tenant!r}; list the published ones with `retort models`."
    )


def _starting_with(session: Session, tenant: str, reference: str) -> Sequence[BundleVersion]:
    if len(reference) < 4:  # a shorter one is probably a typing error
        return []
    begins = BundleVersion.bundle_id.startswith(reference, autoescape=True)
    return session.scalars(select(BundleVersion).filter_by(tenant=tenant).where(begins)).all()


def _by_version(session: Session, tenant: str, reference: str) -> BundleVersion | None:
    name, separator, version = reference.rpartition("@")
    if not separator or not version.isdecimal():
        return None
    return session.scalar(select(BundleVersion).filter_by(tenant=tenant, name=name, version=int(version)))


def _find(session: Session, tenant: str, bundle_id: str) -> BundleVersion | None:
    return session.scalar(select(BundleVersion).filter_by(tenant=tenant, bundle_id=bundle_id))


def _alias_target(session: Session, tenant: str, alias: str) -> str | None:
    return session.scalar(select(Alias.bundle_id).filter_by(tenant=tenant, alias=alias))


def _lock_name(session: Session, tenant: str, name: str) -> None:
    # Serialises publishing and promotion of one name; SQLite's writers are serialised anyway.
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(func.hashtext(f"{tenant}/{name}"))))


def _published(session: Session, row: BundleVersion) -> Published:
    session.flush()
    names = session.scalars(select(Alias.alias).filter_by(tenant=row.tenant, bundle_id=row.bundle_id)).all()
    return Published(
        tenant=row.tenant,
        name=row.name,
        version=row.version,
        bundle_id=row.bundle_id,
        uri=row.uri,
        metrics=row.metrics,
        created_at=row.created_at,
        aliases=tuple(sorted(names)),
    )
