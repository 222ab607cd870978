"""External item ids and the integers 1 … n_items that stand for them inside."""

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
            twice = next(i for i in self._ids if i in seen or seen.add(i))  # type: ignore[func-returns-value]
            raise DataError(f"item_id {twice!r} appears twice in the item index; item ids must be unique.")

    def __len__(self) -> int:
        """Number of items, PAD not counted."""
        return len(self._ids)

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._indexes

    @property
    def ids(self) -> Sequence[str]:
        """All ids; position 0 holds the id of index 1."""
        return self._ids

    def index(self, item_id: str) -> int | None:
        """The item's index, or None for a stranger."""
        return self._indexes.get(item_id)

    def indexes(self, item_ids: Iterable[str]) -> NDArray[np.int64]:
        """Indexes of the known ids, in order; strangers are left out."""
        indexes = list(map(self._indexes.get, item_ids))
        if None in indexes:
            indexes = [index for index in indexes if index is not None]
        return np.array(indexes, dtype=np.int64)

    def id(self, item_index: int) -> str:
        """The id behind an index in 1 … n_items."""
        if not PAD < item_index <= len(self._ids):
            raise IndexError(f"item_index {item_index} is outside 1 … {len(self._ids)}")
        return self._ids[item_index - 1]
