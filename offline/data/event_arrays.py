"""Event arrays: interactions as flat arrays of integer codes, so that splits need no loop over users.

What is as long as the events and wider than a code is made in blocks of whole users, so that a hundred million events
fit in memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from retort.offline.data.interactions import Interactions
from retort.offline.data.ragged import IntArray, Ragged

_BLOCK_EVENTS = 4_000_000


@dataclass(frozen=True)
class EventArrays:
    """Interactions as arrays, sorted by user and time.

    Event e is item `items[e]` (a code) at `times[e]`; the events of user u are `starts[u]` … `ends[u] - 1`.
    """

    user_ids: tuple[str, ...]
    item_ids: pl.Series  # sorted; an item's code is its position here
    items: NDArray[np.int32]
    times: IntArray  # empty for positions
    starts: IntArray
    ends: IntArray

    def __len__(self) -> int:
        return len(self.items)

    def users_at(self, events: IntArray) -> IntArray:
        """Return the user of each of the events."""
        return np.searchsorted(self.ends, events, side="right")

    def blocks(self) -> Iterator[tuple[slice, slice]]:
        """Yield slices of users and of their events."""
        first = 0
        while first < len(self.ends):
            limit = self.starts[first] + _BLOCK_EVENTS
            last = max(first + 1, int(np.searchsorted(self.ends, limit, side="right")))
            yield slice(first, last), slice(int(self.starts[first]), int(self.ends[last - 1]))
            first = last

    def in_prefix(self, ends: IntArray) -> NDArray[np.bool_]:
        """Mark the events before `ends[u]` of each user u, (E,)."""
        mask = np.zeros(len(self), dtype=bool)
        for users, events in self.blocks():
            mask[events] = _in_prefix(self.starts[users], self.ends[users], ends[users])
        return mask


def event_arrays(interactions: Interactions) -> EventArrays:
    """Convert interactions, which are sorted by user and time."""
    item_ids = interactions.ids("item_id")
    user_ids: list[str] = []
    starts, items, times = [], [], []
    n_events = 0
    for part in interactions.parts(["user_id", "item_id", "timestamp"]):
        users = part["user_id"]
        first = np.flatnonzero((users != users.shift(1)).fill_null(True).to_numpy())
        user_ids += users.gather(first).to_list()
        starts.append(first.astype(np.int64) + n_events)
        items.append(codes_of(part["item_id"], item_ids).astype(np.int32))
        if interactions.clock == "time":
            times.append(part["timestamp"].to_numpy().astype(np.int64))
        n_events += part.height
    all_starts = np.concatenate(starts)
    all_times = np.concatenate(times) if times else np.empty(0, np.int64)
    ends = np.append(all_starts[1:], n_events).astype(np.int64)
    return EventArrays(tuple(user_ids), item_ids, np.concatenate(items), all_times, all_starts, ends)


def codes_of(column: pl.Series, ids: pl.Series) -> NDArray[np.uint32]:
    """Return the position of each value in the distinct `ids`."""
    codes = pl.DataFrame({"id": ids}).with_row_index("code")
    joined = column.to_frame("id").join(codes, on="id", how="left", maintain_order="left")
    return joined["code"].to_numpy()


def count_items(events: EventArrays, ends: IntArray) -> IntArray:
    """Count each item code among the events before `ends[u]` of each user u."""
    counts = np.zeros(len(events.item_ids), dtype=np.int64)
    for block in _prefix_items(events, ends):
        counts += np.bincount(block, minlength=len(counts))
    return counts


def indexes_before(events: EventArrays, ends: IntArray, index_of_code: IntArray) -> Iterator[IntArray]:
    """Yield the item indexes of the events before `ends[u]` of each user u, in blocks."""
    return (index_of_code[block] for block in _prefix_items(events, ends))


def histories_before(
    events: EventArrays, positions: IntArray, index_of_code: IntArray, max_history: int | None
) -> Iterator[Ragged]:
    """Yield the history of each position, in blocks: the known items of its user before it.

    Args:
        positions: Events, ascending.
        index_of_code: Index of each item code; 0: unknown, left out.
        max_history: Number of latest items of a history; None: all.
    """
    for _, block in events.blocks():
        low, high = np.searchsorted(positions, [block.start, block.stop])
        if low == high:
            continue
        indexes = index_of_code[events.items[block]]
        # histories are slices of the known events: before[e] is the number of those before event e of the block
        before = np.zeros(len(indexes) + 1, dtype=np.int64)
        np.cumsum(indexes > 0, out=before[1:])
        targets = positions[low:high]
        first = before[events.starts[events.users_at(targets)] - block.start]
        end = before[targets - block.start]
        if max_history is not None:
            first = np.maximum(first, end - max_history)
        yield Ragged.slices(indexes[indexes > 0], first, end)


def _prefix_items(events: EventArrays, ends: IntArray) -> Iterator[NDArray[np.int32]]:
    for users, block in events.blocks():
        yield events.items[block][_in_prefix(events.starts[users], events.ends[users], ends[users])]


def _in_prefix(starts: IntArray, ends: IntArray, prefix_ends: IntArray) -> NDArray[np.bool_]:
    """Runs of marked and of unmarked events take turns."""
    runs = np.stack([prefix_ends - starts, ends - prefix_ends], axis=1).ravel()
    return np.repeat(np.tile([True, False], len(starts)), runs)
