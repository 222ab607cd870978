"""Tables of any format: CSV, TSV, Parquet or JSON lines, with a column mapping in the recipe."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import Field, field_validator, model_validator

from retort.offline.common.progress import Progress
from retort.offline.common.section import Section
from retort.offline.data.events import collect
from retort.offline.data.rejects import Rejects
from retort.offline.data.sources import RawTable, RawTables, TimeUnit
from retort.offline.data.sources._files import ROWS_PER_FILE, read_any, require_directory, table
from retort.shared.base.errors import DataError

File = Literal["interactions", "items", "users"]


class Config(Section):
    """Options: file names under the data directory, and their column names."""

    interactions: str = Field(
        "interactions.csv",
        description="file of events: .csv, .tsv, .parquet or .jsonl, also .gz; a folder or a pattern (log/*.parquet) "
        "names several",
    )
    items: str | None = Field(None, description="file of items")
    users: str | None = Field(None, description="file of users, with attributes and subset flags")
    user_id: str = Field("user_id", description="user id column")
    item_id: str = Field("item_id", description="item id column, in all files")
    items_item_id: str | None = Field(None, description="item id column of the items' file, where it has another name")
    timestamp: str | None = Field(None, description="time column: seconds, milliseconds or ISO text")
    position: str | None = Field(
        None, description="column with the position in the user's history, where no time is known"
    )
    weight: str | None = Field(None, description="column with a rating or another weight")
    time_unit: TimeUnit = Field("auto", description="unit of whole-number times; auto: recognised by magnitude")
    time_format: str | None = Field(
        None, description='format of times that are other text, as strptime reads it: "%d.%m.%Y %H:%M"'
    )
    title: str | None = Field(None, description="title column of items; unset: `title` where it exists")
    items_columns: list[str] | None = Field(None, description="columns of the items' file; unset: all")
    users_columns: list[str] | None = Field(None, description="columns of the users' file; unset: all")
    event_type: str | None = Field(None, description="column with the type of an event, for event_weights")
    event_weights: dict[str, float] | None = Field(
        None, description="type → weight: {view = 1, purchase = 5}; events of other types are left out"
    )
    separator: str | dict[File, str] | None = Field(
        None, description='separator of .csv and .tsv files where it is unusual, for all or a file: {items = ";"}'
    )
    encoding: str | dict[File, str] = Field(
        "utf-8", description='encoding of .csv and .tsv files, for all or a file: {items = "latin-1"}'
    )
    header: dict[File, list[str]] = Field(
        {}, description='names for the columns of .csv and .tsv files without a header: {interactions = ["user", …]}'
    )
    lists: dict[str, str] = Field({}, description='item or user columns with several values: {genres = "|"}')

    @field_validator("separator")
    @classmethod
    def _read_tab(cls, value: str | dict[File, str] | None) -> str | dict[File, str] | None:
        """A command line passes `\\t` as two characters."""
        if isinstance(value, dict):
            return {file: _separator(text) for file, text in value.items()}
        return None if value is None else _separator(value)

    @model_validator(mode="after")
    def _refuse_two_orders(self) -> "Config":
        if self.timestamp and self.position:
            raise ValueError("name a timestamp or a position column, not both")
        if self.weight and self.event_weights:
            raise ValueError("name a weight column or event_weights, not both")
        if (self.event_type is None) != (self.event_weights is None):
            raise ValueError(
                "event_type and event_weights belong together; name the column and the weights of its types"
            )
        if self.event_weights is not None and not all(weight > 0 for weight in self.event_weights.values()):
            raise ValueError("event_weights must be above 0; leave out the types that do not count")
        if self.time_format is not None and "%" not in self.time_format:
            raise ValueError(f'time_format {self.time_format!r} is no format; write one such as "%d.%m.%Y %H:%M"')
        return self

    def reading(self, file: File) -> dict[str, Any]:
        """Return how one of the files is read: separator, encoding and names of its columns."""
        separator = self.separator.get(file) if isinstance(self.separator, dict) else self.separator
        encoding = self.encoding.get(file, "utf-8") if isinstance(self.encoding, dict) else self.encoding
        return {"separator": separator, "encoding": encoding, "header": self.header.get(file)}


def _separator(text: str) -> str:
    if not text:
        raise ValueError("a separator has at least one character")
    return "\t" if text == "\\t" else text


def files(config: Config, root: Path) -> dict[str, Path]:
    """Return the files that are read, by option: other files of the directory do not matter."""
    tables = {file: root / name for file in ("items", "users") if (name := getattr(config, file)) is not None}
    events = _event_files(root, config.interactions)
    if len(events) == 1:
        return {"interactions": events[0], **tables}
    return {**{f"interactions {path.relative_to(root)}": path for path in events}, **tables}


def _event_files(root: Path, name: str) -> list[Path]:
    """The one file of events, or the files of a folder or a pattern in the order of their names.

    Raises:
        DataError: A folder or a pattern has no file.
    """
    path = root / name
    if not path.is_dir() and not any(mark in name for mark in "*?["):
        return [path]
    found = path.rglob("*") if path.is_dir() else root.glob(name)
    files = sorted(file for file in found if file.is_file() and not file.name.startswith((".", "_")))
    if not files:
        raise DataError(f"there is no file in {path}; correct its name in [data.options] or the directory of --data.")
    return files


def read(config: Config, root: Path | None, rejects: Rejects, progress: Progress) -> RawTables:
    """Read the tables; without timestamp and position, the order of the rows is the order of each user's history."""
    columns = {"user_id": config.user_id, "item_id": config.item_id}
    if order := config.timestamp or config.position:
        columns["timestamp"] = order
    if config.weight:
        columns["weight"] = config.weight
    if config.event_type:
        columns["event_type"] = config.event_type
    directory = require_directory(root)
    if not order:
        progress.say(
            f"{config.interactions}: no time column is named; the order of the rows is used as the order of events"
        )
    events = []
    for place, path in enumerate(_event_files(directory, config.interactions)):
        name = path.relative_to(directory).as_posix()
        frame = _read(config, root, "interactions", name, rejects, progress, tuple(columns.values()))
        part = replace(table(path, frame, columns), file=name)
        if config.event_weights:
            part = _weighted(part, config.event_weights, progress)
        if not order:
            row = pl.col("row").cast(pl.Int64) + place * ROWS_PER_FILE
            part = replace(part, frame=part.frame.with_columns(timestamp=row))
        events.append(part)
    return RawTables(
        interactions=tuple(events),
        items=_items(config, root, rejects, progress),
        users=_users(config, root, rejects, progress),
        clock="time" if config.timestamp else "position",
        time_unit=config.time_unit,
        time_format=config.time_format,
    )


def _weighted(events: RawTable, weights: dict[str, float], progress: Progress) -> RawTable:
    """Give events the weights of their types; those of other types are left out and counted.

    Raises:
        DataError: No event has one of the types.
    """
    kind = pl.col("event_type").cast(pl.String).str.strip_chars()
    counts = collect(events, events.frame.select(kind.value_counts(sort=True)).unnest("event_type"))
    others = counts.filter(~pl.col("event_type").is_in(list(weights)).fill_null(False))
    listed = ", ".join(f"{name} ({n:,})" for name, n in others.head(5).iter_rows())
    if others.height == counts.height and counts.height:
        raise DataError(
            f"{events.file}, column {events.name('event_type')!r}: no event has a type of event_weights; they are: "
            f"{listed}."
        )
    if others.height:
        n_others = others["count"].sum()
        progress.say(f"{events.file}: {n_others:,} events of types without a weight are left out: {listed}")
    weight = kind.replace_strict(weights, default=None, return_dtype=pl.Float64)
    frame = events.frame.with_columns(weight=weight).filter(pl.col("weight").is_not_null()).drop("event_type")
    return RawTable(events.file, frame, events.names)


def _items(config: Config, root: Path | None, rejects: Rejects, progress: Progress) -> tuple[RawTable, ...]:
    if config.items is None:
        return ()
    item_id = config.items_item_id or config.item_id
    columns = {"item_id": item_id, **{name: name for name in config.items_columns or ()}}
    if config.title:
        columns["title"] = config.title
    others = config.items_columns is None
    keys = None if others else tuple(columns.values())
    frame = _read(config, root, "items", config.items, rejects, progress, keys)
    return (table(Path(config.items), frame, columns, _lists(config, frame), others=others),)


def _users(config: Config, root: Path | None, rejects: Rejects, progress: Progress) -> tuple[RawTable, ...]:
    if config.users is None:
        return ()
    frame = _read(config, root, "users", config.users, rejects, progress)
    columns = {"user_id": config.user_id, **{name: name for name in config.users_columns or ()}}
    others = config.users_columns is None
    return (table(Path(config.users), frame, columns, _lists(config, frame), others=others),)


def _lists(config: Config, frame: pl.LazyFrame) -> dict[str, str]:
    names = frame.collect_schema().names()
    return {column: separator for column, separator in config.lists.items() if column in names}


def _read(
    config: Config,
    root: Path | None,
    file: File,
    name: str,
    rejects: Rejects,
    progress: Progress,
    keys: tuple[str, ...] | None = None,
) -> pl.LazyFrame:
    path = require_directory(root) / name
    if not path.is_file():
        raise DataError(f"there is no file {path}; correct its name in [data.options] or the directory of --data.")
    return read_any(path, rejects, progress, keys=keys, **config.reading(file))
