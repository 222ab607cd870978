"""`retort promote`: an alias moves to a challenger that is not worse, or by force and with a record."""

import getpass
from pathlib import Path

from sqlalchemy import Engine

from retort.offline.common.database import migrate_and_open
from retort.offline.common.terminal import TerminalProgress
from retort.offline.evaluation.promotion_gate import Verdict, weigh
from retort.shared.base.errors import RetortError
from retort.shared.base.settings import Settings
from retort.shared.model import registry
from retort.shared.model.bundle import open_bundle
from retort.shared.model.registry import Published, RegistryError


def promote_bundle(
    reference: str,
    alias: str,
    metric: str | None = None,
    cases: Path | None = None,
    *,
    force: bool = False,
    because: str | None = None,
) -> str:
    """Move the alias; what the gate said and what the bundle is called now. A refusal is a RegistryError."""
    if force and not because:
        raise RegistryError('--force needs a reason that is kept with the promotion: --because "why".')
    engine = migrate_and_open(Settings())
    challenger = registry.resolve(engine, reference)
    verdict = _verdict(engine, challenger, alias, metric, cases)
    if not (verdict.passed or force):
        raise RegistryError(f"{alias} stays where it is: {verdict.reason} To promote anyway: --force --because WHY.")
    forced = not verdict.passed
    moved = registry.promote(
        engine,
        challenger.bundle_id,
        alias,
        set_by=getpass.getuser(),
        reason=" | ".join(filter(None, (because, verdict.reason))),
        forced=forced,
    )
    return f"{verdict.reason}\n{sentence(moved)}{', by force' if forced else ''}"


def _verdict(engine: Engine, challenger: Published, alias: str, metric: str | None, cases: Path | None) -> Verdict:
    standing_id = registry.aliases(engine).get(alias)
    if standing_id is None or standing_id == challenger.bundle_id:
        return Verdict(True, f"{alias} points to no other bundle, so there is nothing to be worse than.")
    standing = registry.resolve(engine, standing_id)
    try:
        with TerminalProgress() as progress:
            return weigh(
                open_bundle(_local(standing.uri)), open_bundle(_local(challenger.uri)), metric, cases, progress
            )
    except RetortError as error:
        # A champion that cannot be read must be replaceable, but a person decides it.
        return Verdict(False, f"the two could not be weighed: {error}")


def _local(uri: str) -> Path:
    return Path(uri.removeprefix("file://"))


def sentence(one: Published) -> str:
    """What the bundle is called now."""
    aliases = ", ".join(one.aliases) or "no alias yet; `retort promote` gives it one"
    return f"{one.bundle_id} is {one.name}@{one.version} ({aliases})"
