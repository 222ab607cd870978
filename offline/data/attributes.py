"""Attribute types: columns of any kind → i64, f64, bool, text or lists of text, equal for every file format."""

from collections.abc import Mapping

import polars as pl

TRUE_FALSE = {"true": True, "false": False}


def infer_types(frame: pl.DataFrame, lists: Mapping[str, str]) -> pl.DataFrame:
    """Convert every column to its natural type; blank text becomes null.

    Args:
        lists: column → separator of its values.
    """
    return frame.with_columns(infer_type(frame[name], lists.get(name)) for name in frame.columns)


def infer_type(column: pl.Series, separator: str | None = None) -> pl.Series:
    """Convert one column; text becomes numbers or booleans only if all its values are."""
    dtype = column.dtype
    if dtype == pl.List or dtype == pl.Array:
        return column.cast(pl.List(pl.String))
    if dtype == pl.Boolean:
        return column
    if dtype.is_integer():
        whole = column.cast(pl.Int64, strict=False)
        return whole if whole.null_count() == column.null_count() else column.cast(pl.String)
    if dtype.is_float() or dtype.is_decimal():
        return _narrowed(column.cast(pl.Float64))
    if dtype == pl.Struct:
        column = column.struct.json_encode()
    text = _blank_is_null(column.cast(pl.String))
    return _listed(text, separator) if separator else _from_text(text)


def _blank_is_null(text: pl.Series) -> pl.Series:
    stripped = text.str.strip_chars()
    return stripped.set(stripped == "", None)


def _listed(text: pl.Series, separator: str) -> pl.Series:
    """Split `A > B` into [A, B]; empty parts are dropped, and a value without parts is null."""
    parts = text.str.split(separator.strip() or separator)
    trimmed = parts.list.eval(pl.element().str.strip_chars().replace("", None).drop_nulls())
    return trimmed.set(trimmed.list.len() == 0, None)


def _from_text(text: pl.Series) -> pl.Series:
    if text.null_count() == len(text):
        return text
    lower = text.str.to_lowercase()
    if lower.drop_nulls().is_in(list(TRUE_FALSE)).all():
        return lower.replace_strict(TRUE_FALSE, return_dtype=pl.Boolean)
    whole = text.cast(pl.Int64, strict=False)
    # "007" and "+7" are codes, not numbers, and must stay unchanged
    if (whole.cast(pl.String).eq_missing(text)).all():
        return whole
    number = text.cast(pl.Float64, strict=False)
    plain = text.drop_nulls().str.contains(r"^-?(0|[1-9]\d*)(\.\d+)?$").all()
    # a code with more digits than a float holds stays text
    if plain and number.null_count() == text.null_count() and not (number.abs() >= 1 << 53).any():
        return _narrowed(number)
    return text


def _narrowed(number: pl.Series) -> pl.Series:
    """Turn floats that are all whole (1995.0 in a column with nulls) into integers, and NaN into null."""
    number = number.fill_nan(None)
    whole = number.cast(pl.Int64, strict=False)
    return whole if whole.cast(pl.Float64).eq_missing(number).all() else number
