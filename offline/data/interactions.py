"""Interactions and items, checked once at the door; everything behind it may trust them."""

from dataclasses import dataclass
from typing import Literal

import polars as pl

# Whether `timestamp` is time (milliseconds since 1970, UTC) or only the place in the user's history.
Clock = Literal["time", "position"]


@dataclass(frozen=True)
class Interactions:
    """What users did, one row an event.

    frame: user_id str, item_id str, timestamp i64 (ms since 1970 UTC, or a position), weight f32 (null: unknown);
    sorted by user_id, timestamp and, for ties, the order of the raw file.
    """

    frame: pl.DataFrame
    clock: Clock


@dataclass(frozen=True)
class Items:
    """What can be recommended, one row an item.

    frame: item_id str (unique), title str, text str (what an encoder or a prompt reads; may be ""), then any number
    of attribute columns (str, i64, f64, bool or list[str]; null: unknown).
    """

    frame: pl.DataFrame

    @property
    def attributes(self) -> list[str]:
        """Names of the attribute columns."""
        return [name for name in self.frame.columns if name not in ("item_id", "title", "text")]
