"""Data sources: one module for each, found by its name (`[data] source`).

The contract of a source module:

    class Config(Section)      its options (`[data.options]`), all with the layout's own defaults
    def read(config, root, rejects, progress) -> RawTables
    def files(config, root) -> dict[str, Path]            optional: role → each file that is read; without it every
                                                          file of the directory counts as data

`root` is the directory of `--data` (None for synthetic data). A source finds its files, renames their columns to ours
and numbers their rows. It neither casts nor checks values, so that every source is cleaned by the same rules. Lines
that cannot be parsed go to `rejects`. A missing file or column is a DataError.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import polars as pl

from retort.offline.data.interactions import Clock
from retort.shared.base.errors import DataError

TimeUnit = Literal["auto", "s", "ms", "us", "ns"]


@dataclass(frozen=True)
class RawTable:
    """Rows of one file with our column names.

    Attributes:
        frame: `row` (number of the record in the file), then for interactions user_id, item_id, timestamp and perhaps
            weight; for items item_id, perhaps title, and attributes; for users user_id and attributes. Of any type.
        names: our name → the file's, where they differ, for messages.
        lists: attribute → separator of its values.
    """

    file: str
    frame: pl.LazyFrame
    names: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[str, str] = field(default_factory=dict)

    def name(self, column: str) -> str:
        """Return the file's name of one of our columns."""
        return self.names.get(column, column)


@dataclass(frozen=True)
class RawTables:
    """All tables of a source; of several files of one kind, rows of the first count as earlier.

    Attributes:
        time_format: strptime's format of times that are text; None: numbers and ISO text.
    """

    interactions: tuple[RawTable, ...]
    items: tuple[RawTable, ...] = ()
    users: tuple[RawTable, ...] = ()
    clock: Clock = "time"
    time_unit: TimeUnit = "auto"
    time_format: str | None = None


def existing_directory(path: Path) -> Path:
    """Return the path itself.

    Raises:
        DataError: It is a file, or does not exist.
    """
    if path.is_dir():
        return path
    if path.exists():
        raise DataError(f"--data {path} is a file; write --data {path.parent} instead, the directory that contains it.")
    raise DataError(f"the data directory {path} does not exist; name an existing one with --data DIR.")
