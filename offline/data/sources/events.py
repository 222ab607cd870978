"""Events that serving collected: `events.parquet` of `retort events export`, with items from a table of any format.

The database itself is not a source: it changes during a run, and a run must be exactly repeatable.
"""

from pathlib import Path

import polars as pl
from pydantic import Field

from retort.offline.common.progress import Progress
from retort.offline.common.section import Section
from retort.offline.data.event_export import EVENTS_FILE
from retort.offline.data.rejects import Rejects
from retort.offline.data.sources import RawTable, RawTables
from retort.offline.data.sources._files import find_file, read_any, table
from retort.shared.base.errors import DataError

_SESSION = "session:"


class Config(Section):
    """Options: which events count, and the table of items."""

    types: list[str] | None = Field(None, description="event types to use; unset: all with a weight above 0")
    sessions: bool = Field(False, description="true: sessions without a user become users `session:<id>`")
    items: str | None = Field(None, description="table of items: .csv, .tsv, .parquet or .jsonl")
    item_id: str = Field("item_id", description="id column of that file")
    separator: str | None = Field(None, min_length=1, description="separator of a .csv or .tsv, where it is unusual")
    encoding: str = Field("utf-8", description="encoding of a .csv or .tsv")
    title: str | None = Field(None, description="title column; unset: `title` where it exists")
    lists: dict[str, str] = Field({}, description='item columns with several values: {genres = "|"}')


def files(config: Config, root: Path | None) -> dict[str, Path]:
    """Return the events and, where one is named, the table of items."""
    items = {} if config.items is None else {"items": find_file(root, config.items)}
    return {"events": find_file(root, EVENTS_FILE), **items}


def read(config: Config, root: Path | None, rejects: Rejects, progress: Progress) -> RawTables:
    """Read the events in the order of arrival, which decides between equal times."""
    path = find_file(root, EVENTS_FILE)
    events = table(
        path,
        _used_events(read_any(path, rejects, progress), config),
        {"user_id": "user_id", "item_id": "item_id", "timestamp": "time_ms", "weight": "weight"},
    )
    return RawTables((events,), _items(config, root, rejects, progress), time_unit="ms")


def _used_events(frame: pl.LazyFrame, config: Config) -> pl.LazyFrame:
    """The events that count; `row` keeps the number in the file."""
    required = {"user_id", "session_id", "item_id", "event_type", "weight", "time_ms"}
    missing = sorted(required - set(frame.collect_schema().names()))
    if missing:
        raise DataError(f"{EVENTS_FILE} has no column {missing[0]!r}; write it again with `retort events export`.")
    counts = pl.col("weight") > 0 if config.types is None else pl.col("event_type").is_in(config.types)
    if config.sessions:
        guest = pl.format(_SESSION + "{}", "session_id")
        return frame.filter(counts).with_columns(user_id=pl.coalesce("user_id", guest))
    return frame.filter(counts & pl.col("user_id").is_not_null())


def _items(config: Config, root: Path | None, rejects: Rejects, progress: Progress) -> tuple[RawTable, ...]:
    if config.items is None:
        return ()
    path = find_file(root, config.items)
    columns = {"item_id": config.item_id, **({"title": config.title} if config.title else {})}
    frame = read_any(path, rejects, progress, separator=config.separator, encoding=config.encoding)
    return (table(path, frame, columns, config.lists, others=True),)
