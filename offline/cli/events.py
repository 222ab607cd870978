"""The `retort events` command group: events from serving's stream to the database, and from there to Parquet files."""

import os
import signal
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from retort.shared.base.errors import StoreError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from retort.shared.base.settings import Settings

events_app = typer.Typer(help="User events, from serving to the next training.", no_args_is_help=True)


@dataclass(frozen=True)
class DrainCounts:
    """Number of events and of shown lists that a drain moved to the database."""

    events: int
    lists: int

    def __str__(self) -> str:
        return f"{self.events} events and {self.lists} shown lists"


@events_app.command("drain")
def drain_command(
    watch: Annotated[bool, typer.Option("--watch", help="repeat until SIGTERM or Ctrl-C")] = False,
    every_s: Annotated[float, typer.Option(min=0.1, help="seconds between two reads of the stream")] = 5.0,
) -> None:
    """Move serving's events from their Redis Stream to the database; an outage of either loses nothing."""
    drain_events(every_s if watch else None)


@events_app.command("schedule")
def schedule_command(
    every_s: Annotated[float, typer.Option(min=1.0, help="seconds between two drains")] = 60.0,
) -> None:
    """Run Celery beat for the drain; a worker of the queue cpu executes it."""
    from retort.offline.jobs.celery_app import make_app
    from retort.offline.jobs.tasks import schedule_drains
    from retort.offline.local.local_redis import running_redis
    from retort.shared.base.settings import Settings

    settings = Settings()
    redis_url = settings.redis_url or running_redis(settings.retort_home)
    if redis_url is None:
        raise StoreError("beat sends through Redis: set REDIS_URL, or run `retort events drain --watch` instead.")
    app = make_app(redis_url)
    schedule_drains(app, every_s)
    app.Beat(schedule=str(settings.retort_home / "beat-drain"), loglevel=settings.log_level).run()


@events_app.command("export")
def export_command(
    out: Annotated[Path, typer.Option("--out", help="directory for the two files: --data of a recipe")],
) -> None:
    """Write the database's events (for `source = "events"`) and shown lists into Parquet files."""
    typer.echo(export_events(out))


def drain_events(every_s: float | None) -> None:
    """Drain once, or every `every_s` seconds until SIGTERM or Ctrl-C; while watching, outages are waited out."""
    from retort.offline.common.database import migrate_and_open
    from retort.shared.base.settings import Settings

    settings = Settings()
    engine, redis_url = migrate_and_open(settings), _serving_redis(settings)
    if every_s is None:
        print(f"{drain_once(redis_url, engine)} were moved to the database")
        return
    stopping = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stopping.set())
    console, last_problem = Console(stderr=True), ""
    while not stopping.wait(every_s):
        try:
            counts, problem = drain_once(redis_url, engine), ""
        except StoreError as error:
            counts, problem = DrainCounts(0, 0), str(error)
        if counts != DrainCounts(0, 0):
            console.print(f"{counts} were moved to the database", highlight=False)
        if problem and problem != last_problem:  # once, not at every read
            console.print(f"events wait on their stream: {problem}", markup=False, highlight=False)
        last_problem = problem


def drain_once(redis_url: str, engine: "Engine") -> DrainCounts:
    """Move everything that is on both streams now."""
    from retort.shared.events.drain import drain, drain_exposures
    from retort.shared.events.events_table import EventsTable
    from retort.shared.events.exposures_table import ExposuresTable

    worker = f"{socket.gethostname()}-{os.getpid()}"
    # Shown lists first: a merge on the events' stream moves the lists that a guest was shown before it.
    lists = drain_exposures(redis_url, ExposuresTable(engine), worker=worker)
    return DrainCounts(drain(redis_url, EventsTable(engine), worker=worker), lists)


def export_events(out: Path) -> str:
    """Write events.parquet and exposures.parquet; returns a summary sentence."""
    from retort.offline.common.database import migrate_and_open
    from retort.offline.data.event_export import EVENTS_FILE, EXPOSURES_FILE, write_events, write_exposures
    from retort.shared.base.settings import Settings
    from retort.shared.events.events_table import read_events
    from retort.shared.events.exposures_table import read_exposures

    engine = migrate_and_open(Settings())
    n_events, n_lists = write_events(read_events(engine), out), write_exposures(read_exposures(engine), out)
    return f"{n_events} events are in {out / EVENTS_FILE}, {n_lists} shown lists in {out / EXPOSURES_FILE}"


def _serving_redis(settings: "Settings") -> str:
    from retort.offline.local.local_redis import running_redis

    redis_url = settings.histories_url or running_redis(settings.retort_home)
    if redis_url is None:
        raise StoreError("the event stream is in serving's Redis: set REDIS_URL (or HISTORIES_REDIS_URL) to it.")
    return redis_url
