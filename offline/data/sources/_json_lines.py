"""JSON lines, plain or gzip, as numbered rows: the format of Amazon's data sets and of many logs."""

import ast
import gzip
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

import orjson
import polars as pl

from retort.offline.common.progress import Progress
from retort.offline.data.rejects import Rejects
from retort.shared.base.errors import DataError

LINES_PER_FRAME = 200_000
Record = dict[str, Any]


def read_json_lines(
    path: Path,
    rejects: Rejects,
    progress: Progress,
    pick: Callable[[Record], Record] | None = None,
) -> pl.LazyFrame:
    """Read one JSON object a line as a table with `row`; lines without an object are rejected.

    Values keep their types; a key with values of several types becomes text.

    Args:
        pick: Selects what to keep of an object.
    """
    refuse_empty(path)
    frames, rows, numbers = [], [], []
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        record = _record(line)
        if record is None:
            rejects.add(path.name, number, "", line[:200].decode("utf-8", "replace"), "not a JSON object")
            continue
        rows.append(pick(record) if pick else record)
        numbers.append(number)
        if len(rows) == LINES_PER_FRAME:
            frames.append(_frame(rows, numbers))
            rows, numbers = [], []
            progress.update(f"reading {path.name}", number, None)
    frames.append(_frame(rows, numbers))
    return _stacked(frames).lazy()


def first_record(path: Path) -> Record:
    """Return the first object of a file, to recognise its layout.

    Raises:
        DataError: There is none.
    """
    refuse_empty(path)
    for line in _lines(path):
        if record := _record(line):
            return record
    raise DataError(f"{path.name} contains no JSON object; give a file with one on each line.")


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with open_bytes(path) as file:
            yield from file
    except (EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"{path.name} is not a complete gzip file ({error}); download it again.") from error


def _record(line: bytes) -> Record | None:
    """Parse the object on a line; Amazon's older metadata are Python literals, not JSON."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            value = ast.literal_eval(line.decode("utf-8"))
        except (ValueError, SyntaxError, UnicodeDecodeError):
            return None
    return value if isinstance(value, dict) else None


def _frame(rows: list[Record], numbers: list[int]) -> pl.DataFrame:
    names = dict.fromkeys(name for row in rows for name in row if name != "row")
    columns = {name: _column([row.get(name) for row in rows]) for name in names}
    return pl.DataFrame({"row": pl.Series(numbers, dtype=pl.Int64), **columns})


def _column(values: list[Any]) -> pl.Series:
    """Keep scalars of one type, make lists to lists of text, and everything else to text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} or kinds in ({str}, {bool}):
        return pl.Series(values, strict=False)
    if kinds == {list}:
        texts = [None if v is None else [as_text(value) for value in v if value is not None] for v in values]
        return pl.Series(texts, dtype=pl.List(pl.String))
    return pl.Series([None if value is None else as_text(value) for value in values], dtype=pl.String)


def as_text(value: Any) -> str:
    """Return a JSON value as one string; text stays unquoted."""
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()


def _stacked(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """Concatenate frames of one file, whose column types may differ between chunks."""
    kinds: dict[str, set[pl.DataType]] = {}
    for frame in frames:
        for name, kind in frame.schema.items():
            kinds.setdefault(name, set()).add(kind)
    mixed = [name for name, seen in kinds.items() if len(seen - {pl.Null()}) > 1]
    casts: dict[str, pl.DataType] = {}
    for name in mixed:
        numeric = all(kind.is_numeric() or kind == pl.Null() for kind in kinds[name])
        # integers of different width are usually ids, and a float would merge two neighbouring ones
        whole = all(kind.is_integer() or kind == pl.Null() for kind in kinds[name])
        casts[name] = pl.Float64() if numeric and not whole else pl.String()
    return pl.concat([_cast(frame, casts) for frame in frames], how="diagonal_relaxed")


def _cast(frame: pl.DataFrame, casts: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Cast columns; a list becomes its JSON text."""
    for name in casts.keys() & set(frame.columns):
        column = frame[name]
        if column.dtype == pl.List:
            column = pl.Series(name, [None if v is None else as_text(v.to_list()) for v in column], dtype=pl.String)
        frame = frame.with_columns(column.cast(casts[name]).alias(name))
    return frame


def refuse_empty(path: Path) -> None:
    """Raise DataError for an empty file."""
    if path.stat().st_size == 0:
        raise DataError(f"{path.name} is empty; give a file with rows.")


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file, decompressed where its name ends in `.gz`."""
    return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")
