"""Many lists of indexes in two flat arrays: no object per user, so ten million interactions stay small."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Ragged(Sequence[IntArray]):
    """Row i is `values[offsets[i]:offsets[i + 1]]`; offsets has one entry more than there are rows."""

    values: NDArray[np.int64]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Iterable[Sequence[int] | IntArray]) -> "Ragged":
        """Pack lists into one."""
        arrays = [np.asarray(row, dtype=np.int64) for row in rows]
        offsets = np.zeros(len(arrays) + 1, dtype=np.int64)
        np.cumsum([len(array) for array in arrays], out=offsets[1:])
        return cls(np.concatenate(arrays) if arrays else np.empty(0, np.int64), offsets)

    @property
    def lengths(self) -> IntArray:
        """Length of each row."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> IntArray:  # type: ignore[override]
        if not 0 <= row < len(self):
            raise IndexError(row)
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def __iter__(self) -> Iterator[IntArray]:
        return (self[row] for row in range(len(self)))

    def take(self, rows: IntArray) -> "Ragged":
        """The named rows, in the named order."""
        return Ragged.of(self[int(row)] for row in rows)
