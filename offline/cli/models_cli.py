"""`retort publish`, `promote`, `rollback`, `models`, `recommend`: bundles that serve."""

from pathlib import Path
from typing import Annotated

import typer


def publish(
    bundle: Annotated[Path, typer.Argument(help="a sealed bundle's directory")],
    alias: Annotated[str | None, typer.Option(help="let this alias point to it at once")] = None,
) -> None:
    """Copy a bundle to where serving finds it, and record its version."""
    from retort.offline.cli.models import publish_bundle

    typer.echo(publish_bundle(bundle, alias))


def promote(
    reference: Annotated[str, typer.Argument(help="bundle id, its start, name@version, or an alias")],
    alias: Annotated[str, typer.Option(help="which alias to move")] = "champion",
    metric: Annotated[str | None, typer.Option(help="hr, ndcg or mrr at a k; none: ndcg at the recipe's k")] = None,
    cases: Annotated[
        Path | None, typer.Option(help="a run's split directory: ask both bundles its test, where their data differ")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="against the gate; needs --because, and is recorded")] = False,
    because: Annotated[str | None, typer.Option(help="why; kept with the promotion")] = None,
) -> None:
    """Let an alias point to a published bundle, if it is not worse than what stands there; serving follows."""
    from retort.offline.cli.promotion import promote_bundle

    typer.echo(promote_bundle(reference, alias, metric, cases, force=force, because=because))


def rollback(alias: Annotated[str, typer.Option(help="which alias")] = "champion") -> None:
    """Undo an alias' last promotion."""
    from retort.offline.cli.models import rollback_alias

    typer.echo(rollback_alias(alias))


def models(
    changes: Annotated[bool, typer.Option("--changes", help="who promoted what, when and why")] = False,
) -> None:
    """List what is published."""
    from retort.offline.cli.models import list_changes, list_models

    (list_changes if changes else list_models)()


def recommend(
    users: Annotated[Path, typer.Option(help="Parquet with a column user_id")],
    out: Annotated[Path, typer.Option(help="Parquet to write: user_id, item_id, score, rank, source")],
    bundle: Annotated[str, typer.Option(help="a bundle's directory, or an alias, id or name@version")] = "champion",
    histories: Annotated[
        Path | None, typer.Option(help="Parquet with user_id, item_id, timestamp; none: Redis, as serving does")
    ] = None,
    k: Annotated[int, typer.Option(help="items for each user")] = 10,
    tenant: Annotated[str, typer.Option(help="whose bundle and histories")] = "default",
) -> None:
    """Answer a whole file of users, with the answers that the server would give."""
    from retort.offline.cli.recommend import recommend_users

    typer.echo(recommend_users(users, out, bundle, histories, k, tenant))
