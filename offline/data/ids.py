"""Ids of users and items as text: the same id gives the same text in every format and beside any other ids.

Integers of any size keep their digits. A whole number with a decimal point loses it (`1.0` of a CSV is `1` of a Parquet
file). A float that may have lost digits is refused: another id may have become the same number.
"""

import re
from dataclasses import dataclass
from typing import Any

import polars as pl

from retort.shared.base.errors import DataError
from retort.shared.base.text import FORBIDDEN_IN_IDS, MISSING_IDS, id_fault

EXACT_BELOW = 1 << 53  # whole numbers from here on are not all floats
_EXACT_BELOW_32 = 1 << 24
_WHOLE = r"^(-?)(0|[1-9]\d*)\.0+$"
_SCIENTIFIC = r"^-?\d(?:\.\d+)?[eE]\+\d+$"  # as pandas and spreadsheets write large numbers
# U+FFFD stands for bytes that were not text, so that different ids may have become one
_FORBIDDEN = rf"[{FORBIDDEN_IN_IDS[1:-1]}\ufffd]"
MALFORMED = "contains a line break, another control character or a damaged one"


@dataclass(frozen=True)
class Ids:
    """A column of ids.

    Attributes:
        text: The ids as text; null: missing.
        malformed: The distinct ids with line breaks or other control characters.
    """

    text: pl.Series
    malformed: pl.Series

    def problem(self, column: str) -> tuple[str, pl.Expr, str]:
        """Return the rule for malformed ids, as (column, condition, reason)."""
        is_bad = pl.col(column).is_in(self.malformed.implode()) if len(self.malformed) else pl.lit(False)
        return (column, is_bad, MALFORMED)


def clean_ids(column: pl.Series, rows: pl.Series, where: str) -> Ids:
    """Convert a column of any type to ids.

    Args:
        rows: Number of each value's row, for messages.
        where: The file and the column's name in it.

    Raises:
        DataError: A float has lost digits.
    """
    if column.dtype.is_float():
        text = _from_floats(column, rows, where)
    elif column.dtype == pl.Binary:
        text = column.map_elements(lambda value: value.decode("utf-8", "replace"), pl.String)
    else:
        text = column.cast(pl.String)
    text = text.str.strip_chars(" \t\u00a0\u3000")
    if column.dtype.is_integer():
        return Ids(text, text.clear())
    distinct = text.unique().drop_nulls()
    numbers = distinct.filter(distinct.str.contains(_WHOLE))
    if column.dtype == pl.String or column.dtype == pl.Categorical:
        _refuse_inexact(text, distinct, numbers, rows, where)
    malformed = distinct.filter(distinct.str.contains(_FORBIDDEN))
    missing = distinct.filter(distinct.is_in(MISSING_IDS))
    if len(numbers):
        whole = numbers.str.replace(_WHOLE, "${1}${2}").replace("-0", "0")
        text = text.replace(numbers, whole)
    if len(missing):
        text = text.set(text.is_in(missing.implode()), None)
    return Ids(text, malformed)


def _from_floats(column: pl.Series, rows: pl.Series, where: str) -> pl.Series:
    """Text of floats; NaN and infinities are missing."""
    limit = EXACT_BELOW if column.dtype == pl.Float64 else _EXACT_BELOW_32
    inexact = (column.is_finite() & (column.abs() >= limit)).fill_null(False)
    if inexact.any():
        place = int(inexact.arg_true()[0])
        raise _inexact_error(where, int(rows[place]), f"{column[place]:.0f}", limit)
    finite = column.set(~column.is_finite(), None)
    whole = finite.cast(pl.Int64, strict=False)
    text = whole.cast(pl.String)
    is_fraction = (whole.cast(column.dtype) != finite).fill_null(False)
    if is_fraction.any():
        written = finite.filter(is_fraction)
        written = written.map_elements(repr, pl.String) if column.dtype == pl.Float64 else written.cast(pl.String)
        text = text.scatter(is_fraction.arg_true(), written)
    return text


def _refuse_inexact(text: pl.Series, distinct: pl.Series, numbers: pl.Series, rows: pl.Series, where: str) -> None:
    """Raise DataError for text of a float that has lost digits, or may have."""
    long = numbers.filter(numbers.str.len_chars() > len("9007199254740992"))
    bad = [value for value in long if abs(int(value.partition(".")[0])) >= EXACT_BELOW]
    bad += distinct.filter(distinct.str.contains(_SCIENTIFIC)).to_list()
    if bad:
        place = int(text.is_in(bad).arg_true()[0])
        raise _inexact_error(where, int(rows[place]), text[place], EXACT_BELOW)


def _inexact_error(where: str, row: int, value: str, limit: int) -> DataError:
    return DataError(
        f"{where}, row {row}: the id {value} was written as a float, and floats from {limit:,} on lose digits, so "
        "different ids may have become one; write the column as whole numbers or as text."
    )


def id_text(value: Any) -> str | None:
    """Return the text of an id in a JSON value, None where it is missing.

    Raises:
        ValueError: The value cannot be an id; the message says why.
    """
    if value is None:
        return None
    if isinstance(value, bool | list | dict):
        raise ValueError("is not text or a number")
    text = str(value).strip(" \t\u00a0\u3000")
    if text in MISSING_IDS or text in ("inf", "-inf"):
        return None
    match = re.match(_WHOLE, text)
    if re.match(_SCIENTIFIC, text) or (match and abs(int(match[2])) >= EXACT_BELOW):
        raise ValueError("was written as a float and has lost digits; write it as a whole number or as text")
    if match:
        text = "0" if match[2] == "0" else match[1] + match[2]
    if fault := id_fault(text):
        raise ValueError(fault)
    return text
