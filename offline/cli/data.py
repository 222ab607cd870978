"""The `retort data`, `retort history` and `retort db` command groups: raw data, histories in Redis, database tables."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from retort.offline.cli._options import AsJson, DataDir, OutDir, Overrides, RecipeName
from retort.offline.common.terminal import TerminalProgress, print_json

if TYPE_CHECKING:
    import polars as pl

    from retort.shared.base.settings import Settings

data_app = typer.Typer(help="Check and describe raw data, and download public data sets.", no_args_is_help=True)
db_app = typer.Typer(help="The database's tables.", no_args_is_help=True)
history_app = typer.Typer(help="Histories in Redis.", no_args_is_help=True)
_DAY_S = 86_400
_MAX_LINES = 10  # of a data check


@data_app.command("fetch")
def fetch_data(
    name: Annotated[str | None, typer.Argument(help="a public data set; none: list them")] = None,
    out: Annotated[Path, typer.Option("--out", help="target directory")] = Path("data"),
    as_json: AsJson = False,
) -> None:
    """Download a public data set; an interrupted download is resumed. The paths are on standard output."""
    from retort.offline.data.fetch import fetch_dataset
    from retort.offline.data.public_datasets import CATALOGUE

    if name is None:
        lines = sorted(CATALOGUE)
    else:
        with TerminalProgress() as progress:
            lines = list(map(str, fetch_dataset(name, out, progress)))
    print_json(lines) if as_json else typer.echo("\n".join(lines))


@data_app.command("check")
def check_data(
    recipe: RecipeName,
    data: DataDir = None,
    overrides: Overrides = None,
    everything: Annotated[bool, typer.Option("--all", help="one line for each row, instead of ten at most")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print every finding as JSON")] = False,
) -> None:
    """List the faults in raw data by file, row and column; exit status 1 if there are errors or rows are not used."""
    from retort.offline.data.check import count_sentence, find_problems, summarise
    from retort.offline.data.sources import existing_directory
    from retort.offline.recipes.recipe import load_recipe

    config = load_recipe(recipe, overrides or []).data
    directory = existing_directory(data) if data else None
    with TerminalProgress() as progress:
        findings = find_problems(config, directory, progress)
    if as_json:
        print_json([vars(finding) for finding in findings])
    else:
        for line in map(str, findings) if everything else summarise(findings, _MAX_LINES):
            print(line)
    more = "" if everything or as_json or len(findings) <= _MAX_LINES else "; --all lists each row"
    Console(stderr=True).print(count_sentence(findings) + more, highlight=False)
    if any(finding.severity != "note" for finding in findings):
        raise typer.Exit(1)


@data_app.command("report")
def report_data(recipe: RecipeName, data: DataDir = None, overrides: Overrides = None) -> None:
    """Read the data as the recipe does and print a report as JSON."""
    import orjson

    from retort.offline.data.load import load_data
    from retort.offline.recipes.recipe import load_recipe

    with TerminalProgress() as progress:
        loaded = load_data(load_recipe(recipe, overrides or []).data, data, progress)
    print(orjson.dumps(loaded.report.as_json(), option=orjson.OPT_INDENT_2, default=str).decode())


@history_app.command("load")
def load_history(
    recipe: RecipeName, data: DataDir = None, out: OutDir = Path("runs"), overrides: Overrides = None
) -> None:
    """Write every user's newest events of a run's data into the Redis that serving reads; requires REDIS_URL."""
    from retort.offline.data.tables import load_saved
    from retort.offline.local.local_redis import given_redis
    from retort.offline.pipeline.build import load_pipeline
    from retort.shared.base.errors import StoreError
    from retort.shared.base.settings import Settings

    settings = Settings()
    if settings.histories_url is None:
        # A private Redis would end with this command, and a server would answer everybody as a stranger.
        raise StoreError(
            "REDIS_URL is not set, so no server would find the histories; start a Redis and set REDIS_URL (or "
            "HISTORIES_REDIS_URL) to its address, such as redis://127.0.0.1:6379/0, for this command and for "
            "`retort serve`."
        )
    # before the data are read
    service = given_redis(
        settings.histories_url, settings.histories_setting, "start that Redis, or correct the address"
    )
    with TerminalProgress() as progress:
        pipeline = load_pipeline(recipe, data, out, overrides or [], progress)
        frame = load_saved(pipeline.ensure_path("data")).interactions.frame
        progress.say(service.description)
        n_users = load_frame(service.url, frame, settings)
    print(f"{n_users} histories are in Redis")


def load_frame(redis_url: str, frame: "pl.DataFrame", settings: "Settings") -> int:
    """Write the histories of an interactions frame into Redis; returns the number of users."""
    from retort.shared.history.history_load import load_histories

    return load_histories(
        redis_url,
        _histories(frame, settings.history_length),
        max_events=settings.history_length,
        ttl_s=settings.history_ttl_days * _DAY_S or None,
    )


def _histories(frame: "pl.DataFrame", max_events: int) -> Iterator[tuple[str, list[tuple[str, int]]]]:
    """User id and newest (item id, timestamp) pairs, user by user."""
    import polars as pl

    grouped = frame.group_by("user_id", maintain_order=True).agg(
        pl.col("item_id").tail(max_events), pl.col("timestamp").tail(max_events)
    )
    for user_id, items, times in grouped.iter_rows():
        yield user_id, list(zip(items, times, strict=True))


@db_app.command("upgrade")
def upgrade_database() -> None:
    """Migrate the database's tables to this version."""
    from retort.shared.base.settings import Settings
    from retort.shared.db.migrate import upgrade

    upgrade(Settings().database)
    typer.echo("the database is at this version's tables")
