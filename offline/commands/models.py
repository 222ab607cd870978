"""`retort publish`, `promote`, `rollback`, `models`: what serving may answer from."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from offline.commands._opening import open_tables
from offline.publish import publish_to
from shared import registry
from shared.registry import Published
from shared.settings import Settings


def publish_bundle(bundle: Path, alias: str | None) -> str:
    """Publish, and point the alias to it."""
    settings = Settings()
    published = publish_to(open_tables(settings), bundle, settings.bundles_dir, alias)
    return _sentence(published)


def promote_bundle(reference: str, alias: str) -> str:
    """Move an alias."""
    return _sentence(registry.promote(open_tables(Settings()), reference, alias))


def rollback_alias(alias: str) -> str:
    """Undo the alias' last promotion."""
    return _sentence(registry.rollback(open_tables(Settings()), alias))


def list_models() -> None:
    """All versions, newest first."""
    table = Table("bundle", "name", "version", "aliases", "protocol", "hr@10", "ndcg@10", "published")
    for one in registry.list_published(open_tables(Settings())):
        test = one.metrics.get("test", {})
        table.add_row(
            one.bundle_id,
            one.name,
            str(one.version),
            ", ".join(one.aliases),
            str(one.metrics.get("protocol", "")),
            *(f"{test[metric]:.4f}" if metric in test else "–" for metric in ("hr@10", "ndcg@10")),
            one.created_at.strftime("%Y-%m-%d %H:%M"),
        )
    Console().print(table)


def _sentence(one: Published) -> str:
    aliases = ", ".join(one.aliases) or "no alias yet; `retort promote` gives it one"
    return f"{one.bundle_id} is {one.name}@{one.version} ({aliases})"
