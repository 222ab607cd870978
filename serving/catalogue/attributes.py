"""Item attributes of a bundle as arrays by item index, built at first use."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from retort.shared.base.schema import ITEM_ID, KNOWLEDGE, TEXT

Mask = NDArray[np.bool_]
_TEXTS = (ITEM_ID, TEXT, KNOWLEDGE)  # one value an item: no filter can use them


@dataclass(frozen=True)
class NumberAttribute:
    """Numeric attribute: numbers, booleans (0 and 1) or times (seconds since 1970); NaN for items without a value."""

    kind: Literal["number", "boolean", "time"]
    values: NDArray[np.float64]  # (n_items + 1,)

    @cached_property
    def present(self) -> Mask:
        return ~np.isnan(self.values)


@dataclass(frozen=True)
class TextAttribute:
    """Text attribute with any number of values for each item: item i has codes[starts[i]:starts[i + 1]]."""

    codes: NDArray[np.int32]
    starts: NDArray[np.int64]  # (n_items + 2,)
    words: dict[str, int]

    @property
    def n_rows(self) -> int:
        return len(self.starts) - 1

    @cached_property
    def present(self) -> Mask:
        return np.diff(self.starts) > 0

    @cached_property
    def _rows(self) -> NDArray[np.int64]:
        """The item index of each code."""
        return np.repeat(np.arange(self.n_rows), np.diff(self.starts))

    @property
    def distinct_codes(self) -> NDArray[np.int64] | NDArray[np.int32]:
        """The codes, where a code that one item has twice is there once; in no order."""
        if not len(self.codes) or int(np.diff(self.starts).max()) <= 1:
            return self.codes
        n_words = len(self.words)
        return np.unique(self._rows * n_words + self.codes) % n_words

    def matches_any(self, words: Sequence[str]) -> Mask:
        """Return the (n_items + 1,) mask of the items that have any of the words."""
        wanted = np.zeros(len(self.words), dtype=bool)
        wanted[[self.words[word] for word in words if word in self.words]] = True
        mask = np.zeros(self.n_rows, dtype=bool)
        mask[self._rows[wanted[self.codes]]] = True
        return mask


Attribute = NumberAttribute | TextAttribute


class Attributes:
    """All attributes that filters may use."""

    def __init__(self, items: pa.Table) -> None:
        self._items = items
        self._built: dict[str, Attribute] = {}

    @cached_property
    def names(self) -> list[str]:
        return [field.name for field in self._items.schema if field.name not in _TEXTS and _usable(field.type)]

    def get(self, name: str) -> Attribute | None:
        """Return the attribute, or None when the items have no such column."""
        if name not in self.names:
            return None
        if name not in self._built:
            self._built[name] = _build(self._items.column(name).combine_chunks())
        return self._built[name]


def _usable(type_: pa.DataType) -> bool:
    return _is_text(type_) or _is_number(type_) or (_is_list(type_) and _is_text(type_.value_type))


def _is_text(type_: pa.DataType) -> bool:
    if pa.types.is_dictionary(type_):
        return _is_text(type_.value_type)
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_))


def _is_list(type_: pa.DataType) -> bool:
    return bool(pa.types.is_list(type_) or pa.types.is_large_list(type_))


def _is_time(type_: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(type_) or pa.types.is_date(type_))


def _is_number(type_: pa.DataType) -> bool:
    plain = pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_boolean(type_)
    return bool(plain or _is_time(type_))


def _build(column: "pa.Array") -> Attribute:
    if _is_number(column.type):
        return _numbers(column)
    return _texts(column)


def _numbers(column: "pa.Array") -> NumberAttribute:
    kind: Literal["number", "boolean", "time"] = "number"
    scale = 1.0
    if pa.types.is_boolean(column.type):
        kind = "boolean"
        column = column.cast(pa.int8())
    elif _is_time(column.type):
        kind, scale = "time", 1e-3
        column = column.cast(pa.timestamp("ms"), safe=False).cast(pa.int64())  # rounds down to milliseconds
    numbers = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return NumberAttribute(kind, np.concatenate([[np.nan], numbers * scale]))


def _texts(column: "pa.Array") -> TextAttribute:
    if _is_list(column.type):
        counts = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
        words = column.flatten()
        # Nulls inside a list are removed.
        owners = np.repeat(np.arange(len(counts)), counts)
    else:
        words = column
        owners = np.arange(len(column))
    known = words.is_valid().to_numpy(zero_copy_only=False)
    words = words.filter(pa.array(known))
    counts = np.bincount(owners[known], minlength=len(column))
    encoded = words if pa.types.is_dictionary(words.type) else words.dictionary_encode()
    names = encoded.dictionary.to_pylist()
    starts = np.concatenate([[0, 0], np.cumsum(counts)]).astype(np.int64)
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32)
    return TextAttribute(codes, starts, {word: code for code, word in enumerate(names)})
