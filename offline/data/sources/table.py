"""Tables of any format: CSV, TSV, Parquet or JSON lines, with a column mapping in the recipe."""

from pathlib import Path

import polars as pl
from pydantic import Field, model_validator

from retort.offline.common.progress import Progress
from retort.offline.common.section import Section
from retort.offline.data.rejects import Rejects
from retort.offline.data.sources import RawTable, RawTables, TimeUnit
from retort.offline.data.sources._files import read_any, require_directory, table
from retort.shared.base.errors import DataError


class Config(Section):
    """Options: file names under the data directory, and their column names."""

    interactions: str = Field(
        "interactions.csv", description="file of events: .csv, .tsv, .parquet or .jsonl, also .gz"
    )
    items: str | None = Field(None, description="file of items")
    users: str | None = Field(None, description="file of users, with attributes and subset flags")
    user_id: str = Field("user_id", description="user id column")
    item_id: str = Field("item_id", description="item id column, in all files")
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
    users_columns: list[str] | None = Field(None, description="columns of the users' file; unset: all")
    separator: str | None = Field(
        None, min_length=1, description="separator of .csv and .tsv files, where it is unusual"
    )
    encoding: str = Field("utf-8", description="encoding of .csv and .tsv files")
    lists: dict[str, str] = Field({}, description='item or user columns with several values: {genres = "|"}')

    @model_validator(mode="after")
    def _refuse_two_orders(self) -> "Config":
        if self.timestamp and self.position:
            raise ValueError("name a timestamp or a position column, not both")
        if self.time_format is not None and "%" not in self.time_format:
            raise ValueError(f'time_format {self.time_format!r} is no format; write one such as "%d.%m.%Y %H:%M"')
        return self


def read(config: Config, root: Path | None, rejects: Rejects, progress: Progress) -> RawTables:
    """Read the tables; without timestamp and position, the order of the rows is the order of each user's history."""
    frame = _read(config, root, config.interactions, rejects, progress)
    columns = {"user_id": config.user_id, "item_id": config.item_id}
    if order := config.timestamp or config.position:
        columns["timestamp"] = order
    if config.weight:
        columns["weight"] = config.weight
    events = table(Path(config.interactions), frame, columns)
    if not order:
        progress.say(f"{events.file}: no time column is named; the order of the rows is used as the order of events")
        events = RawTable(events.file, events.frame.with_columns(timestamp=pl.col("row")), events.names)
    return RawTables(
        interactions=(events,),
        items=_items(config, root, rejects, progress),
        users=_users(config, root, rejects, progress),
        clock="time" if config.timestamp else "position",
        time_unit=config.time_unit,
        time_format=config.time_format,
    )


def _items(config: Config, root: Path | None, rejects: Rejects, progress: Progress) -> tuple[RawTable, ...]:
    if config.items is None:
        return ()
    frame = _read(config, root, config.items, rejects, progress)
    columns = {"item_id": config.item_id}
    if config.title:
        columns["title"] = config.title
    return (table(Path(config.items), frame, columns, _lists(config, frame), others=True),)


def _users(config: Config, root: Path | None, rejects: Rejects, progress: Progress) -> tuple[RawTable, ...]:
    if config.users is None:
        return ()
    frame = _read(config, root, config.users, rejects, progress)
    columns = {"user_id": config.user_id, **{name: name for name in config.users_columns or ()}}
    others = config.users_columns is None
    return (table(Path(config.users), frame, columns, _lists(config, frame), others=others),)


def _lists(config: Config, frame: pl.LazyFrame) -> dict[str, str]:
    names = frame.collect_schema().names()
    return {column: separator for column, separator in config.lists.items() if column in names}


def _read(config: Config, root: Path | None, name: str, rejects: Rejects, progress: Progress) -> pl.LazyFrame:
    path = require_directory(root) / name
    if not path.is_file():
        raise DataError(f"there is no file {path}; correct its name in [data.options] or the directory of --data.")
    return read_any(path, rejects, progress, separator=config.separator, encoding=config.encoding)
