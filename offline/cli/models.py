"""`retort publish`, `promote`, `rollback`, `models`: what serving may answer from."""

from pathlib import Path

from rich.table import Column, Table

from retort.offline.cli.promotion import promote_bundle, sentence
from retort.offline.common.database import migrate_and_open
from retort.offline.common.terminal import show_table
from retort.offline.export.publish import publish_to
from retort.shared.base.settings import Settings
from retort.shared.model import registry

# Never cut short: ids are there to be copied into the next command.
_ID_LENGTH = 16


def publish_bundle(bundle: Path, alias: str | None) -> str:
    """Publish, and point the alias to it if it passes the gate that every promotion passes."""
    settings = Settings()
    published = publish_to(migrate_and_open(settings), bundle, settings.bundles_dir)
    if alias is None:
        return sentence(published)
    return promote_bundle(published.bundle_id, alias)


def rollback_alias(alias: str) -> str:
    """Undo the alias' last promotion."""
    return sentence(registry.rollback(migrate_and_open(Settings()), alias))


def list_models() -> None:
    """All versions, newest first."""
    table = Table(
        Column("bundle", min_width=_ID_LENGTH),
        "name",
        "version",
        "aliases",
        "protocol",
        "hr@10",
        "ndcg@10",
        "published",
    )
    for one in registry.list_published(migrate_and_open(Settings())):
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
    show_table(table)


def list_changes() -> None:
    """The latest promotions, newest first."""
    table = Table("when", "alias", Column("bundle", min_width=_ID_LENGTH), "by", "forced", "rolled back", "why")
    for one in registry.changes(migrate_and_open(Settings())):
        table.add_row(
            one.set_at.strftime("%Y-%m-%d %H:%M"),
            one.alias,
            one.bundle_id,
            one.set_by or "–",
            "forced" if one.forced else "",
            one.withdrawn_at.strftime("%Y-%m-%d %H:%M") if one.withdrawn_at else "",
            one.reason or "",
        )
    show_table(table)
