"""JSON lines, plain or gzip, as numbered rows; the form of Amazon's dumps and of many logs."""

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
    """One JSON object a line (gzip or plain) as a table with `row`; pick: what to keep of an object.

    Lines that are no object are rejected. Values stay what they are; a key with values of several kinds becomes text.
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
    """The first object of a file, to tell its layout by; DataError if there is none."""
    refuse_empty(path)
    for line in _lines(path):
        if record := _record(line):
            return record
    raise DataError(f"{path.name} holds no JSON object; give a file with one a line.")


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with open_bytes(path) as file:
            yield from file
    except (EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"{path.name} is no whole gzip file ({error}); download it again.") from error


def _record(line: bytes) -> Record | None:
    """The object on a line; Amazon's older metadata are Python literals, not JSON."""
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
    """Scalars of one kind as they are, lists as lists of text, everything else as text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} or kinds in ({str}, {bool}):
        return pl.Series(values, strict=False)
    if kinds == {list}:
        texts = [None if v is None else [as_text(one) for one in v if one is not None] for v in values]
        return pl.Series(texts, dtype=pl.List(pl.String))
    return pl.Series([None if value is None else as_text(value) for value in values], dtype=pl.String)


def as_text(value: Any) -> str:
    """A JSON value as one string; text stays bare."""
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()


def _stacked(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """Frames of the same file, whose columns may differ in kind from chunk to chunk."""
    kinds: dict[str, set[pl.DataType]] = {}
    for frame in frames:
        for name, kind in frame.schema.items():
            kinds.setdefault(name, set()).add(kind)
    mixed = [name for name, seen in kinds.items() if len(seen - {pl.Null()}) > 1]
    casts: dict[str, pl.DataType] = {}
    for name in mixed:
        numeric = all(kind.is_numeric() or kind == pl.Null() for kind in kinds[name])
        # whole numbers of unlike width are ids as a rule, and a float would make one of two neighbours
        whole = all(kind.is_integer() or kind == pl.Null() for kind in kinds[name])
        casts[name] = pl.Float64() if numeric and not whole else pl.String()
    return pl.concat([_cast(frame, casts) for frame in frames], how="diagonal_relaxed")


def _cast(frame: pl.DataFrame, casts: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """To the given kinds; a list becomes the JSON text of it."""
    for name in casts.keys() & set(frame.columns):
        column = frame[name]
        if column.dtype == pl.List:
            column = pl.Series(name, [None if v is None else as_text(v.to_list()) for v in column], dtype=pl.String)
        frame = frame.with_columns(column.cast(casts[name]).alias(name))
    return frame


def refuse_empty(path: Path) -> None:
    """A DataError for a file without a byte."""
    if path.stat().st_size == 0:
        raise DataError(f"{path.name} is empty; give a file with rows.")


def open_bytes(path: Path) -> IO[bytes]:
    """A file's bytes, unpacked where its name ends in `.gz`."""
    return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")
