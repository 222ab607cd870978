"""`retort events …`: from serving's stream to the database, and from there to a file for the next training."""

import os
import signal
import socket
import threading
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from sqlalchemy import Engine

from retort.offline.common.database import migrate_and_open
from retort.offline.data.event_export import EVENTS_FILE, EXPOSURES_FILE, write_events, write_exposures
from retort.offline.jobs.celery_app import make_app
from retort.offline.jobs.tasks import schedule_drains
from retort.offline.local.local_redis import running_redis
from retort.shared.base.errors import StoreError
from retort.shared.base.settings import Settings
from retort.shared.events.event_stream import drain, drain_exposures
from retort.shared.events.events_table import EventsTable, read_events
from retort.shared.events.exposures_table import ExposuresTable, read_exposures


@dataclass(frozen=True)
class Brought:
    """How much a drain brought to the database."""

    events: int
    lists: int

    def __str__(self) -> str:
        return f"{self.events} events and {self.lists} shown lists"


def drain_events(every_s: float | None) -> None:
    """Once, or every so many seconds until SIGTERM or Ctrl-C. While watching, a store that is away is waited for."""
    settings = Settings()
    engine, redis_url = migrate_and_open(settings), _redis_of(settings)
    if every_s is None:
        print(f"{drain_once(redis_url, engine)} were brought to the database")
        return
    stopping = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stopping.set())
    console, told = Console(stderr=True), ""
    while not stopping.wait(every_s):
        try:
            brought, problem = drain_once(redis_url, engine), ""
        except StoreError as error:
            brought, problem = Brought(0, 0), str(error)
        if brought != Brought(0, 0):
            console.print(f"{brought} were brought to the database", highlight=False)
        if problem and problem != told:  # once, not at every look
            console.print(f"events wait on their stream: {problem}", markup=False, highlight=False)
        told = problem


def drain_once(redis_url: str, engine: Engine) -> Brought:
    """Everything that is on the streams now, what was shown too."""
    worker = f"{socket.gethostname()}-{os.getpid()}"
    # What was shown goes first: a merge on the other stream takes along what a guest had been shown before it.
    lists = drain_exposures(redis_url, ExposuresTable(engine), worker=worker)
    return Brought(drain(redis_url, EventsTable(engine), worker=worker), lists)


def schedule_by_beat(every_s: float) -> None:
    """Send for a drain every so many seconds, until told to stop."""
    settings = Settings()
    redis_url = settings.redis_url or running_redis(settings.retort_home)
    if redis_url is None:
        raise StoreError("beat sends through Redis: set REDIS_URL, or run `retort events drain --watch` instead.")
    app = make_app(redis_url)
    schedule_drains(app, every_s)
    app.Beat(schedule=str(settings.retort_home / "beat-drain"), loglevel=settings.log_level).run()


def export_events(out: Path) -> str:
    """Write events.parquet and exposures.parquet; one sentence about both."""
    engine = migrate_and_open(Settings())
    n_events, n_lists = write_events(read_events(engine), out), write_exposures(read_exposures(engine), out)
    return f"{n_events} events are in {out / EVENTS_FILE}, {n_lists} shown lists in {out / EXPOSURES_FILE}"


def _redis_of(settings: Settings) -> str:
    redis_url = settings.histories_url or running_redis(settings.retort_home)
    if redis_url is None:
        raise StoreError("the event stream lives in serving's Redis: set REDIS_URL (or HISTORIES_REDIS_URL) to it.")
    return redis_url
