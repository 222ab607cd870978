"""Publication of a sealed bundle: copy it to where serving reads bundles, and record it in the registry."""

import os
import shutil
from pathlib import Path

from sqlalchemy import Engine

from retort.shared.base.disk import explained_full_disk
from retort.shared.history.keys import DEFAULT_TENANT
from retort.shared.model import registry
from retort.shared.model.bundle import open_bundle
from retort.shared.model.registry import CHAMPION, Published


def publish_to(
    engine: Engine, bundle: Path, bundles_dir: Path, alias: str | None = None, tenant: str = DEFAULT_TENANT
) -> Published:
    """Verify a bundle, copy it to `bundles_dir/<bundle_id>` and record it in the registry.

    Args:
        engine: Database of the registry.
        bundle: Folder of the sealed bundle.
        bundles_dir: Folder that serving reads bundles from.
        alias: Alias that is moved to the bundle. None: the first bundle ever published becomes `champion`, and later
            ones change no alias, because a finished run must not change what is served.
        tenant: Tenant of the registry entry.

    Raises:
        BundleError: The bundle, or an existing copy of it, is damaged.
    """
    opened = open_bundle(bundle)
    target = _copied(bundle, bundles_dir / opened.bundle_id)
    published = registry.publish(engine, opened.manifest, str(target.absolute()), tenant=tenant)
    if alias is None and CHAMPION in registry.aliases(engine, tenant=tenant):
        return published
    return registry.promote(engine, published.bundle_id, alias or CHAMPION, tenant=tenant)


def _copied(bundle: Path, target: Path) -> Path:
    if target.exists():
        open_bundle(target)  # raises if the copy is damaged
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with explained_full_disk(target.parent):
            shutil.copytree(bundle, partial)
            os.replace(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target
