"""Event arrays: interactions as flat arrays of integer codes, so that splits need no loop over users."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from retort.offline.data.ragged import IntArray


@dataclass(frozen=True)
class EventArrays:
    """Interactions as arrays, sorted by user and time.

    Event e is item `items[e]` (a code) at `times[e]`; the events of user u are `starts[u]` … `ends[u] - 1`.
    """

    user_ids: tuple[str, ...]
    item_ids: pl.Series  # sorted; an item's code is its position here
    users: IntArray
    items: IntArray
    times: IntArray
    starts: IntArray
    ends: IntArray


def event_arrays(frame: pl.DataFrame) -> EventArrays:
    """Convert a frame that is sorted by user and time."""
    users = frame["user_id"].rle_id().to_numpy().astype(np.int64)
    starts = np.flatnonzero(np.diff(users, prepend=-1)).astype(np.int64)
    ends = np.append(starts[1:], len(users)).astype(np.int64)
    item_ids = frame["item_id"].unique().sort()
    codes = pl.DataFrame({"item_id": item_ids}).with_row_index("code")
    joined = frame.select("item_id").join(codes, on="item_id", how="left", maintain_order="left")
    return EventArrays(
        tuple(frame["user_id"].gather(starts).to_list()),
        item_ids,
        users,
        joined["code"].to_numpy().astype(np.int64),
        frame["timestamp"].to_numpy().astype(np.int64),
        starts,
        ends,
    )
