"""From a sealed bundle in a run's directory to one that serving can find."""

import os
import shutil
from pathlib import Path

from sqlalchemy import Engine

from retort.shared.history.keys import DEFAULT_TENANT
from retort.shared.model import registry
from retort.shared.model.bundle import open_bundle
from retort.shared.model.registry import CHAMPION, Published


def publish_to(
    engine: Engine, bundle: Path, bundles_dir: Path, alias: str | None = None, tenant: str = DEFAULT_TENANT
) -> Published:
    """Verify, copy to `bundles_dir/<bundle_id>`, and record. The alias is moved to it if one is named.

    Without a name, `champion` is given to the first bundle ever published and otherwise left where it is: what serves
    changes by decision, not by a run that ended.
    """
    opened = open_bundle(bundle)
    target = _copied(bundle, bundles_dir / opened.bundle_id)
    made = registry.publish(engine, opened.manifest, str(target.absolute()), tenant=tenant)
    if alias is None and CHAMPION in registry.aliases(engine, tenant=tenant):
        return made
    return registry.promote(engine, made.bundle_id, alias or CHAMPION, tenant=tenant)


def _copied(bundle: Path, target: Path) -> Path:
    if target.exists():
        open_bundle(target)  # a damaged copy is told, not served
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(bundle, partial)
    os.replace(partial, target)
    return target
