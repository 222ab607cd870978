"""`retort data …`, `history …`, `events …`, `db …`: what lies in files, Redis and the database."""

from pathlib import Path
from typing import Annotated

import typer

from retort.offline.cli._options import DataDir, OutDir, Overrides, RecipeName

data_app = typer.Typer(help="Look at raw data, and fetch what is public.", no_args_is_help=True)
db_app = typer.Typer(help="The database's tables.", no_args_is_help=True)
events_app = typer.Typer(help="What users did, from serving to the next training.", no_args_is_help=True)
history_app = typer.Typer(help="Histories in Redis.", no_args_is_help=True)


@data_app.command("fetch")
def data_fetch(
    name: Annotated[str | None, typer.Argument(help="a public data set; none: list them")] = None,
    out: Annotated[Path, typer.Option("--out", help="directory to put it in")] = Path("data"),
) -> None:
    """Download a public data set; an interrupted download goes on."""
    from retort.offline.cli.data import fetch_data

    fetch_data(name, out)


@data_app.command("check")
def data_check(recipe: RecipeName, data: DataDir = None, overrides: Overrides = None) -> None:
    """Say what is wrong with raw data, by file, row and column; status 1 if anything is."""
    from retort.offline.cli.data import check_data

    if check_data(recipe, data, overrides or []):
        raise typer.Exit(1)


@data_app.command("report")
def data_report(recipe: RecipeName, data: DataDir = None, overrides: Overrides = None) -> None:
    """Read the data as the recipe does and describe it."""
    from retort.offline.cli.data import report_data

    report_data(recipe, data, overrides or [])


@history_app.command("load")
def history_load(
    recipe: RecipeName, data: DataDir = None, out: OutDir = Path("runs"), overrides: Overrides = None
) -> None:
    """Put every user's events of a run's data into Redis."""
    from retort.offline.cli.data import load_into_redis

    load_into_redis(recipe, data, out, overrides or [])


@events_app.command("drain")
def events_drain(
    watch: Annotated[bool, typer.Option("--watch", help="again and again, until told to stop")] = False,
    every_s: Annotated[float, typer.Option(min=0.1, help="seconds between two looks at the stream")] = 5.0,
) -> None:
    """Bring serving's events from their Redis Stream to the database; nothing is lost while either is away."""
    from retort.offline.cli.events import drain_events

    drain_events(every_s if watch else None)


@events_app.command("schedule")
def events_schedule(
    every_s: Annotated[float, typer.Option(min=1.0, help="seconds between two drains")] = 60.0,
) -> None:
    """Be Celery's beat for the drain: a worker of the queue cpu does it."""
    from retort.offline.cli.events import schedule_by_beat

    schedule_by_beat(every_s)


@events_app.command("export")
def events_export(
    out: Annotated[Path, typer.Option("--out", help="directory for the two files: --data of a recipe")],
) -> None:
    """Freeze the database's events, which `[data] source = "events"` reads, and what was shown, into Parquet files."""
    from retort.offline.cli.events import export_events

    typer.echo(export_events(out))


@db_app.command("upgrade")
def db_upgrade() -> None:
    """Bring the database's tables to this version."""
    from retort.shared.base.settings import Settings
    from retort.shared.db.migrate import upgrade

    upgrade(Settings().database)
    typer.echo("the database is at this version's tables")
