"""Where interactions come from: one file a source, found by its name (`[data] source`).

The contract of a source module:

    class Config(Section)      its options (`[data.options]`), all with the layout's own defaults
    def read(config, root, rejects, progress) -> RawTables

`root` is the directory of `--data` (None for data that is made, not read). A source finds its files, gives their
columns our names and numbers their rows; it casts and judges nothing, so that every source is cleaned by the same
rules. Lines that cannot even be parsed go to `rejects`. A missing file or column is a DataError.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from retort.offline.data.interactions import Clock

TimeUnit = Literal["auto", "s", "ms", "us", "ns"]


@dataclass(frozen=True)
class RawTable:
    """The rows of one file under our names.

    frame: `row` (the record's number in the file), then for interactions user_id, item_id, timestamp and perhaps
    weight; for items item_id, perhaps title, and attributes; for users user_id and attributes. Any column types.
    names: our name → the file's, where they differ, for messages. lists: attribute → separator of its values.
    """

    file: str
    frame: pl.LazyFrame
    names: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[str, str] = field(default_factory=dict)

    def name(self, column: str) -> str:
        """What the file calls a column of ours."""
        return self.names.get(column, column)


@dataclass(frozen=True)
class RawTables:
    """What a source read; files of one kind in the order in which their rows count as earlier."""

    interactions: tuple[RawTable, ...]
    items: tuple[RawTable, ...] = ()
    users: tuple[RawTable, ...] = ()
    clock: Clock = "time"
    time_unit: TimeUnit = "auto"
