"""Item index: external item ids ↔ integers 1 … n_items, and popularity by these integers."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from retort.shared.base.errors import DataError
from retort.shared.base.schema import PAD


class ItemIndex:
    """`item_id` ↔ `item_index`; index 0 is PAD and belongs to no item."""

    def __init__(self, item_ids: Iterable[str]) -> None:
        self._ids: list[str] = list(item_ids)
        self._indexes = {item_id: index for index, item_id in enumerate(self._ids, start=PAD + 1)}
        if len(self._indexes) != len(self._ids):
            seen: set[str] = set()
            duplicate = next(i for i in self._ids if i in seen or seen.add(i))  # type: ignore[func-returns-value]
            raise DataError(f"item_id {duplicate!r} appears twice in the item index; item ids must be unique.")

    def __len__(self) -> int:
        """Number of items, without PAD."""
        return len(self._ids)

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._indexes

    @property
    def ids(self) -> Sequence[str]:
        """All ids; position 0 is the id of index 1."""
        return self._ids

    def index(self, item_id: str) -> int | None:
        """Return the item's index, or None for an unknown item."""
        return self._indexes.get(item_id)

    def indexes(self, item_ids: Iterable[str]) -> NDArray[np.int64]:
        """Return the indexes of the known ids, in order; unknown ids are left out."""
        indexes = list(map(self._indexes.get, item_ids))
        if None in indexes:
            indexes = [index for index in indexes if index is not None]
        return np.array(indexes, dtype=np.int64)

    def id(self, item_index: int) -> str:
        """Return the id of an index in 1 … n_items.

        Raises:
            IndexError: The index is outside.
        """
        if not PAD < item_index <= len(self._ids):
            raise IndexError(f"item_index {item_index} is outside 1 … {len(self._ids)}")
        return self._ids[item_index - 1]


def by_popularity(popularity: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return item indexes, most popular first; equal counts in the order of their index.

    Args:
        popularity: Train events of each item, (n_items + 1,).
    """
    return np.argsort(-popularity[1:], kind="stable") + 1


def most_popular(order: NDArray[np.int64], hidden: NDArray[np.int64], depth: int) -> NDArray[np.int64]:
    """Return the first `depth` of `by_popularity` that are not hidden: the fallback, online and offline."""
    head = order[: depth + len(hidden)]
    return head[~np.isin(head, hidden)][:depth]


def popularity_scores(popularity: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return log(1 + train events) by index, (n_items + 1,) float32."""
    return np.log1p(popularity).astype(np.float32)
