"""The commands about bundles: `publish`, `promote`, `rollback`, `models`, `recommend` and the group `items`."""

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retort.offline.cli._options import AsJson
from retort.offline.common.terminal import TerminalProgress, show_rows
from retort.shared.base.errors import RetortError

if TYPE_CHECKING:
    from polars import DataFrame
    from sqlalchemy import Engine

    from retort.offline.common.progress import Progress
    from retort.offline.data.interactions import Items
    from retort.offline.knowledge.config import KnowledgeConfig
    from retort.offline.knowledge.new_items import DescribeNew
    from retort.shared.model.promotion_gate import Verdict
    from retort.shared.model.registry import Published

items_app = typer.Typer(help="New items between two trainings.", no_args_is_help=True)
_METRICS = ("hr@10", "ndcg@10")


def publish(
    bundle: Annotated[Path, typer.Argument(help="a sealed bundle's directory")],
    alias: Annotated[str | None, typer.Option(help="promote it to this alias too, through the gate")] = None,
) -> None:
    """Copy a bundle to the bundle store of serving, and register its version."""
    typer.echo(publish_bundle(bundle, alias))


def promote(
    reference: Annotated[str, typer.Argument(help="bundle id, its start, name@version, or an alias")],
    alias: Annotated[str, typer.Option(help="the alias to move")] = "champion",
    metric: Annotated[str | None, typer.Option(help="hr, ndcg or mrr at a k; none: ndcg at the recipe's k")] = None,
    cases: Annotated[
        Path | None,
        typer.Option(help="a run's split directory: evaluate both bundles on its test, where their data differ"),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="despite the gate; requires --because, and is recorded")
    ] = False,
    because: Annotated[str | None, typer.Option(help="the reason, stored with the promotion")] = None,
) -> None:
    """Point an alias to a published bundle unless the gate finds it worse than the champion; serving follows."""
    typer.echo(promote_bundle(reference, alias, metric, cases, force=force, because=because))


def rollback(alias: Annotated[str, typer.Option(help="the alias")] = "champion") -> None:
    """Undo an alias's last promotion."""
    from retort.offline.common.database import migrate_and_open
    from retort.shared.base.settings import Settings
    from retort.shared.model import registry

    typer.echo(_version_of(registry.rollback(migrate_and_open(Settings()), alias)))


def models(
    changes: Annotated[bool, typer.Option("--changes", help="the promotions: who, when and why")] = False,
    as_json: AsJson = False,
) -> None:
    """List the published bundles."""
    (list_changes if changes else list_models)(as_json=as_json)


def recommend(
    users: Annotated[Path, typer.Option(help=".parquet, .csv, .tsv or .jsonl with a column user_id")],
    out: Annotated[Path, typer.Option(help="Parquet to write: user_id, item_id, score, rank, source")],
    bundle: Annotated[str, typer.Option(help="a bundle's directory, or an alias, id or name@version")] = "champion",
    histories: Annotated[
        Path | None,
        typer.Option(help="the same formats, with user_id, item_id, timestamp; none: Redis, as in serving"),
    ] = None,
    k: Annotated[int, typer.Option(help="items for each user")] = 10,
    tenant: Annotated[str, typer.Option(help="tenant of the bundle and the histories")] = "default",
    shards: Annotated[
        int | None,
        typer.Option(min=1, help="write so many files into the directory --out; processes that share it divide them"),
    ] = None,
    submit: Annotated[
        bool, typer.Option("--submit", help="let Celery workers write the shards: `retort worker --queues cpu`")
    ] = False,
) -> None:
    """Recommend to a file of users; the lists equal those of the server."""
    from retort.offline.cli.recommend import BatchRequest, recommend_users

    request = BatchRequest(users, out, bundle, histories, k, tenant, shards)
    if submit:
        from retort.offline.cli.recommend_tasks import submit_shards

        typer.echo(submit_shards(request))
    else:
        typer.echo(recommend_users(request))


@items_app.callback()
def items() -> None:
    """New items between two trainings."""


@items_app.command("add")
def add(
    bundle: Annotated[Path, typer.Argument(help="a sealed bundle's directory")],
    items: Annotated[Path, typer.Argument(help="item_id, title, attributes: of the new items and of the known ones")],
    out: Annotated[Path, typer.Option("--out", help="target directory of the new bundle")],
    encoder: Annotated[str | None, typer.Option(help="a text encoder; unset: the recipe's")] = None,
    share: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="share of new items in the top ten; unset: their share of the catalogue"),
    ] = None,
    knowledge: Annotated[
        Path | None, typer.Option(help="item knowledge of the new items: a file as for knowledge.backend = file")
    ] = None,
    describes: Annotated[
        bool, typer.Option("--describe/--no-describe", help="write the knowledge of new items, as the recipe says")
    ] = True,
) -> None:
    """Add new items to a bundle from their texts, without training; seals a new bundle."""
    from retort.offline.export.cold_items import add_items, read_items
    from retort.shared.model.bundle import open_bundle

    with TerminalProgress() as progress:
        describe = _describer(progress) if describes else None
        opened = open_bundle(bundle)
        given = read_items(items, opened, progress)
        added = add_items(
            opened, given, out, progress, encoder=encoder, share=share, knowledge=knowledge, describe=describe
        )
        progress.say(added.sentence())
    typer.echo(added.bundle)


def _describer(progress: "Progress") -> "DescribeNew":
    """Describes new items with the model of the settings; the database is opened when it is needed."""
    from retort.offline.common.database import migrate_and_open
    from retort.offline.knowledge.new_items import describer
    from retort.offline.knowledge.store import KnowledgeStore
    from retort.shared.base.settings import LanguageModelSettings, Settings

    def describe(items: "Items", config: "KnowledgeConfig") -> "DataFrame":
        store = KnowledgeStore(migrate_and_open(Settings()))
        return describer(store, LanguageModelSettings(), progress)(items, config)

    return describe


def publish_bundle(bundle: Path, alias: str | None) -> str:
    """Publish, and promote to the alias through the same gate as every promotion; returns a summary sentence."""
    from retort.offline.common.database import migrate_and_open
    from retort.offline.export.publish import publish_to
    from retort.shared.base.settings import Settings

    settings = Settings()
    published = publish_to(migrate_and_open(settings), bundle, settings.bundles_dir)
    if alias is None:
        return _version_of(published)
    return promote_bundle(published.bundle_id, alias)


def promote_bundle(
    reference: str,
    alias: str,
    metric: str | None = None,
    cases: Path | None = None,
    *,
    force: bool = False,
    because: str | None = None,
) -> str:
    """Move the alias to the challenger.

    Returns:
        The gate's reason and the bundle's version and aliases.

    Raises:
        RegistryError: The gate refused and `force` is unset, or `force` has no reason.
    """
    from retort.offline.common.database import migrate_and_open
    from retort.shared.base.settings import Settings
    from retort.shared.model import registry
    from retort.shared.model.registry import RegistryError

    if force and not because:
        raise RegistryError('--force requires a reason, which is stored with the promotion: --because "why".')
    engine = migrate_and_open(Settings())
    challenger = registry.resolve(engine, reference)
    verdict = _compare_with_champion(engine, challenger, alias, metric, cases)
    if not (verdict.passed or force):
        raise RegistryError(f"{alias} is not moved: {verdict.reason} To promote anyway: --force --because WHY.")
    forced = not verdict.passed
    moved = registry.promote(
        engine,
        challenger.bundle_id,
        alias,
        set_by=getpass.getuser(),
        reason=" | ".join(filter(None, (because, verdict.reason))),
        forced=forced,
    )
    return f"{verdict.reason}\n{_version_of(moved)}{', by force' if forced else ''}"


def _compare_with_champion(
    engine: "Engine", challenger: "Published", alias: str, metric: str | None, cases: Path | None
) -> "Verdict":
    from retort.offline.evaluation.promotion_gate import check_promotion
    from retort.shared.model import registry
    from retort.shared.model.bundle import open_bundle
    from retort.shared.model.promotion_gate import Verdict

    champion_id = registry.aliases(engine).get(alias)
    if champion_id is None or champion_id == challenger.bundle_id:
        return Verdict(True, f"{alias} points to no other bundle, so there is none to compare with.")
    paths = [Path(one.uri.removeprefix("file://")) for one in (registry.resolve(engine, champion_id), challenger)]
    try:
        with TerminalProgress() as progress:
            return check_promotion(open_bundle(paths[0]), open_bundle(paths[1]), metric, cases, progress)
    except RetortError as error:
        # A champion that cannot be read must be replaceable, but a person decides it.
        return Verdict(False, f"the two bundles could not be compared: {error}")


def _version_of(published: "Published") -> str:
    aliases = ", ".join(published.aliases) or "no alias yet; `retort promote` sets one"
    return f"{published.bundle_id} is {published.name}@{published.version} ({aliases})"


def list_models(*, as_json: bool = False) -> None:
    """Print all versions, newest first."""
    from retort.offline.common.database import migrate_and_open
    from retort.shared.base.settings import Settings
    from retort.shared.model import registry

    rows = []
    for bundle in registry.list_published(migrate_and_open(Settings())):
        test = bundle.metrics.get("test", {})
        row = {"bundle": bundle.bundle_id, "name": bundle.name, "version": bundle.version, "aliases": bundle.aliases}
        row |= {"protocol": bundle.metrics.get("protocol"), **{metric: test.get(metric) for metric in _METRICS}}
        rows.append({**row, "published": bundle.created_at})
    show_rows(rows, as_json=as_json, empty="No bundle is published; `retort publish BUNDLE` publishes one.")


def list_changes(*, as_json: bool = False) -> None:
    """Print the latest promotions, newest first."""
    from retort.offline.common.database import migrate_and_open
    from retort.shared.base.settings import Settings
    from retort.shared.model import registry

    rows = [
        {
            "when": change.set_at,
            "alias": change.alias,
            "bundle": change.bundle_id,
            "by": change.set_by,
            "forced": change.forced,
            "rolled_back": change.withdrawn_at,
            "why": change.reason,
        }
        for change in registry.changes(migrate_and_open(Settings()))
    ]
    show_rows(rows, as_json=as_json, empty="No bundle is promoted; `retort promote BUNDLE` promotes one.")
