"""Ragged arrays: many integer lists in two flat arrays, without an object for each user, to save memory."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
_MAPPED_FROM_BYTES = 64 << 20


@dataclass(frozen=True)
class Ragged(Sequence[IntArray]):
    """Ragged array: row i is `values[offsets[i]:offsets[i + 1]]`; there is one more offset than rows."""

    values: NDArray[np.int64]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Iterable[Sequence[int] | IntArray]) -> "Ragged":
        """Build from lists."""
        arrays = [np.asarray(row, dtype=np.int64) for row in rows]
        offsets = _offsets(np.array([len(array) for array in arrays], dtype=np.int64))
        return cls(np.concatenate(arrays) if arrays else np.empty(0, np.int64), offsets)

    @classmethod
    def slices(cls, values: IntArray, starts: IntArray, ends: IntArray) -> "Ragged":
        """Build from slices that may overlap: row i is a copy of `values[starts[i]:ends[i]]`."""
        lengths = ends - starts
        offsets = _offsets(lengths)
        # position of every copied value in its row, shifted to where that row starts in `values`
        shift = np.repeat(starts - offsets[:-1], lengths)
        return cls(values[np.arange(offsets[-1], dtype=np.int64) + shift], offsets)

    @classmethod
    def of_lengths(cls, values: IntArray, lengths: IntArray) -> "Ragged":
        """Build from the values of all rows and the length of each row."""
        return cls(values, _offsets(lengths))

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
        """Return the given rows, in the given order.

        Raises:
            IndexError: A row does not exist.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self)):
            raise IndexError(f"rows {rows.min()} … {rows.max()} exceed a Ragged of {len(self)} rows")
        return Ragged.slices(self.values, self.offsets[rows], self.offsets[rows + 1])


class ArrayStore:
    """Where long arrays are put together from blocks: in memory, or in `.npy` files that are mapped into memory."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory

    def join(self, name: str, blocks: Iterable[IntArray]) -> IntArray:
        """Join blocks to one array; in a directory it is the file `name.npy`."""
        if self._directory is None:
            return np.concatenate([np.empty(0, np.int64), *blocks])
        path = self._directory / f"{name}.npy"
        header = {"descr": "<i8", "fortran_order": False}
        n_values = 0
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {**header, "shape": (0,)})
            for block in blocks:
                file.write(np.ascontiguousarray(block, dtype="<i8").data)
                n_values += len(block)
            file.seek(0)  # NumPy leaves room in the header for any length
            np.lib.format.write_array_header_1_0(file, {**header, "shape": (n_values,)})
        return load_array(path)


def load_array(path: Path) -> IntArray:
    """Read a `.npy` file; a large one is mapped into memory, and changes stay in memory."""
    mapped = path.stat().st_size > _MAPPED_FROM_BYTES
    array: IntArray = np.load(path, mmap_mode="c" if mapped else None, allow_pickle=False)
    return array


def _offsets(lengths: IntArray) -> IntArray:
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets
