"""Interactions and items: the checked tables that later code may rely on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import polars as pl
import pyarrow.parquet as pq

from retort.shared.base import schema

# Whether `timestamp` is a time (ms since 1970, UTC) or only the position in the user's history.
Clock = Literal["time", "position"]
# Column of the parts of a millisecond, between reading and sorting.
BELOW_MS = "_below_ms"
# Column of the item knowledge.
KNOWLEDGE = schema.KNOWLEDGE


class Interactions:
    """Interactions of users with items, one row an event: a table in memory, or a Parquet file that is read in parts.

    Attributes:
        clock: What `timestamp` means.
    """

    def __init__(self, events: pl.DataFrame | Path, clock: Clock) -> None:
        self._events = events
        self.clock = clock
        self._ids: dict[str, pl.Series] = {}

    @cached_property
    def frame(self) -> pl.DataFrame:
        """All events: user_id str, item_id str, timestamp i64 (ms since 1970 UTC, or a position), weight f32.

        They are sorted by user_id, timestamp and, for equal times, the order of the raw file. A null weight is unknown.
        """
        return self._events if isinstance(self._events, pl.DataFrame) else pl.read_parquet(self._events)

    def parts(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Yield the events in parts, in order; all events of a user are in one part.

        Args:
            columns: Columns that are read; None: all.
        """
        if isinstance(self._events, pl.DataFrame):
            yield self._events if columns is None else self._events.select(columns)
            return
        with pq.ParquetFile(self._events) as file:
            for part in range(file.num_row_groups):
                yield pl.DataFrame(pl.from_arrow(file.read_row_group(part, columns=columns)))

    def is_stored_at(self, path: Path) -> bool:
        """Return whether the events are in this file."""
        return self._events == path if isinstance(self._events, Path) else False

    def ids(self, column: str) -> pl.Series:
        """Return the distinct ids of `user_id` or `item_id`, sorted; the events are read for them once."""
        if column not in self._ids:
            distinct = [part[column].unique() for part in self.parts([column])]
            self._ids[column] = pl.concat(distinct).unique().sort()
        return self._ids[column]


def write_events(parts: Iterator[pl.DataFrame], path: Path) -> None:
    """Write events to one Parquet file with a row group for each part."""
    writer = None
    for frame in parts:
        table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table, row_group_size=max(table.num_rows, 1))
    if writer is not None:
        writer.close()


@dataclass(frozen=True)
class Items:
    """Items that can be recommended, one row an item.

    Attributes:
        frame: item_id str (unique), title str, text str (read by encoders and prompts; may be ""), where there is any
            `knowledge` str (item knowledge, one text an item; null: none), then any number of attribute columns (str,
            i64, f64, bool or list[str]; null: unknown).
    """

    frame: pl.DataFrame

    @property
    def attributes(self) -> list[str]:
        """Names of the attribute columns."""
        return [name for name in self.frame.columns if name not in ("item_id", "title", "text", KNOWLEDGE)]

    @property
    def knowledge(self) -> pl.Series:
        """Item knowledge, one text or null an item, in the order of `frame`."""
        if KNOWLEDGE in self.frame.columns:
            return self.frame[KNOWLEDGE]
        return pl.Series(KNOWLEDGE, [None] * self.frame.height, dtype=pl.String)
