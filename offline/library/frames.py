"""Frames of pandas, polars and Arrow, and data sets of RecTools and RePlay, as one polars frame."""

from typing import Any

import polars as pl
import polars.selectors as cs

from retort.shared.base.errors import DataError

_KINDS = "a path, or a frame of pandas, polars or Arrow"


def to_polars(given: Any, name: str) -> pl.DataFrame:
    """Return a frame as polars has it.

    A named index of pandas becomes columns; categories and bytes become text, and so do columns whose values have
    several types.

    Args:
        name: What it is, for errors: events or items.

    Raises:
        DataError: It is no frame, or a column cannot be read.
    """
    given = _interactions_of(given)
    if isinstance(given, pl.LazyFrame):
        given = given.collect()
    if isinstance(given, pl.DataFrame):
        return _plain(given, name)
    if type(given).__module__.partition(".")[0] == "pandas" and type(given).__name__ == "DataFrame":
        given = _pandas(given, name)
    if isinstance(given, pl.Series) or not hasattr(given, "__arrow_c_stream__") or type(given).__name__ == "Series":
        if hasattr(given, "__arrow_c_array__") and hasattr(given, "schema"):  # a record batch
            return _plain(pl.DataFrame(given), name)
        kind = type(given).__name__
        raise DataError(f"{name} is a {kind}; give {_KINDS} (convert others with to_pandas()).")
    try:
        return _plain(pl.DataFrame(given), name)
    except (pl.exceptions.PolarsError, ValueError, TypeError) as error:
        raise DataError(f"{name} cannot be read as a table ({error}); give {_KINDS}.") from error


def _interactions_of(given: Any) -> Any:
    """Return the events of a data set of RecTools or RePlay, and anything else as it is."""
    if hasattr(given, "get_raw_interactions"):  # RecTools
        return given.get_raw_interactions()
    return given.interactions if hasattr(given, "feature_schema") else given  # RePlay


def _pandas(frame: Any, name: str) -> Any:
    """Return a pandas frame whose index is a column where it has a name, and whose columns have one type each."""
    frame = frame.copy(deep=False)
    if frame.columns.nlevels > 1:
        frame.columns = ["_".join(map(str, parts)) for parts in frame.columns]
    levels = [level for level in frame.index.names if level is not None and level not in frame.columns]
    frame = frame.reset_index(level=levels).reset_index(drop=True)
    frame.columns = [str(column) for column in frame.columns]
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise DataError(f"{name} has two columns {twice!r}; rename one.")
    for column in frame.columns:
        values = frame[column]
        if values.dtype == object and len({type(value) for value in values[values.notna()]}) > 1:
            frame[column] = values.map(str, na_action="ignore")
    return frame


def _plain(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """Make categories and bytes to text."""
    try:
        return frame.with_columns((cs.categorical() | cs.enum() | cs.binary()).cast(pl.String))
    except pl.exceptions.PolarsError as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{name} has a column of bytes that are no text ({reason}); convert it to text.") from error
