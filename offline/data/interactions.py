"""Interactions and items: the checked tables that later code may rely on."""

from dataclasses import dataclass
from typing import Literal

import polars as pl

from retort.shared.base import schema

# Whether `timestamp` is a time (ms since 1970, UTC) or only the position in the user's history.
Clock = Literal["time", "position"]
# Column of the parts of a millisecond, between reading and sorting.
BELOW_MS = "_below_ms"
# Column of the item knowledge.
KNOWLEDGE = schema.KNOWLEDGE


@dataclass(frozen=True)
class Interactions:
    """Interactions of users with items, one row an event.

    Attributes:
        frame: user_id str, item_id str, timestamp i64 (ms since 1970 UTC, or a position), weight f32 (null: unknown);
            sorted by user_id, timestamp and, for equal times, the order of the raw file.
        clock: What `timestamp` means.
    """

    frame: pl.DataFrame
    clock: Clock


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
