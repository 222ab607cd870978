"""JSON lines, plain or gzip, as numbered rows: the format of Amazon's data sets and of many logs."""

import ast
import codecs
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast

import orjson
import polars as pl

from retort.offline.common.progress import Progress
from retort.offline.data.rejects import Rejects
from retort.shared.base.errors import DataError
from retort.shared.base.text import load_json

LINES_PER_FRAME = 200_000
_EXACT = 1 << 53  # floats hold every whole number below
_LONG_NUMBER = re.compile(rb"\d{19}")
_DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
Record = dict[str, Any]


def read_json_lines(
    path: Path,
    rejects: Rejects,
    progress: Progress,
    pick: Callable[[Record], Record] | None = None,
    *,
    n_lines: int | None = None,
) -> pl.LazyFrame:
    """Read one JSON object a line as a table with `row`; lines without an object are rejected.

    Values keep their types; a key with values of several types becomes text.

    Args:
        pick: Selects what to keep of an object.
        n_lines: Read only so many lines from the head of the file.
    """
    refuse_empty(path)
    frames, rows, numbers = [], [], []
    for number, line in enumerate(islice(_lines(path), n_lines), start=1):
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
    with open_bytes(path) as file:
        first = next(iter(file), b"")
        if first.removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"[" and not _is_record(first):
            raise DataError(
                f"{path.name} is one JSON array; write one object a line, for example with jq -c '.[]' {path.name}."
            )
        yield first.removeprefix(codecs.BOM_UTF8)
        yield from file


def _is_record(line: bytes) -> bool:
    """Whether a line holds a whole JSON value that is no list of objects, so that other lines may hold objects."""
    try:
        value = load_json(line)
    except ValueError:
        return False
    return not isinstance(value, list) or not any(isinstance(each, dict) for each in value)


def parse_json(line: bytes) -> Any:
    """Parse JSON; integers of any size keep their digits.

    Raises:
        ValueError: The line is not JSON.
    """
    value = load_json(line)
    # orjson makes floats of integers over 64 bits
    return json.loads(line) if _LONG_NUMBER.search(line) else value


def _record(line: bytes) -> Record | None:
    """Parse the object on a line; Amazon's older metadata are Python literals, not JSON."""
    try:
        value = parse_json(line)
    except ValueError:
        try:
            value = ast.literal_eval(line.decode("utf-8"))
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return None
    if not isinstance(value, dict):
        return None
    return _without_surrogates(value) if _SURROGATE.search(line) else value


def _without_surrogates(value: Any) -> Any:
    """Replace halves of characters, which no table can hold, by U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(each) for key, each in value.items()}
    return [_without_surrogates(each) for each in value] if isinstance(value, list) else value


def _frame(rows: list[Record], numbers: list[int]) -> pl.DataFrame:
    names = dict.fromkeys(name for row in rows for name in row if name != "row")
    columns = {name: _column([row.get(name) for row in rows]) for name in names}
    return pl.DataFrame({"row": pl.Series(numbers, dtype=pl.Int64), **columns})


def _column(values: list[Any]) -> pl.Series:
    """Keep scalars of one type, make lists to lists of text, and everything else to text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds in ({str}, {bool}) or (kinds <= {int, float} and _is_exact(values, kinds)):
        return pl.Series(values, strict=False)
    if kinds == {list}:
        texts = [None if v is None else [as_text(value) for value in v if value is not None] for v in values]
        return pl.Series(texts, dtype=pl.List(pl.String))
    return pl.Series([None if value is None else as_text(value) for value in values], dtype=pl.String)


def _is_exact(values: list[Any], kinds: set[type]) -> bool:
    """Whether one numeric column keeps every digit of the integers: they may be ids."""
    integers = [value for value in values if type(value) is int] if int in kinds else []
    if not integers:
        return True
    low, high = min(integers), max(integers)
    return low > -_EXACT and high < _EXACT if float in kinds else low >= -(1 << 63) and high < 1 << 63


def as_text(value: Any) -> str:
    """Return a JSON value as one string; text stays unquoted."""
    if isinstance(value, str):
        return value
    # integers over 64 bits, and floats as `repr` writes them, are not orjson's
    return repr(value) if type(value) in (int, float) else orjson.dumps(value, default=str).decode()


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
        exact = numeric and all(
            _is_exact([frame[name].min(), frame[name].max()], {int, float})
            for frame in frames
            if name in frame.columns and frame[name].dtype.is_integer() and frame[name].count()
        )
        casts[name] = pl.Float64() if exact else pl.String()
    return pl.concat([_cast(frame, casts) for frame in frames], how="diagonal_relaxed")


def _cast(frame: pl.DataFrame, casts: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Cast columns; lists and floats become the same text as in a column of mixed values."""
    for name in casts.keys() & set(frame.columns):
        column = frame[name]
        if casts[name] == pl.String and (column.dtype == pl.List or column.dtype.is_float()):
            values = (v.to_list() if isinstance(v, pl.Series) else v for v in column)
            column = pl.Series(name, [None if v is None else as_text(v) for v in values], dtype=pl.String)
        frame = frame.with_columns(column.cast(casts[name]).alias(name))
    return frame


def refuse_empty(path: Path) -> None:
    """Raise DataError for an empty file."""
    if path.stat().st_size == 0:
        raise DataError(f"{path.name} is empty; give a file with rows.")


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file, decompressed where its name ends in `.gz`; a damaged one raises DataError when it is read."""
    return cast(IO[bytes], _GzipFile(path)) if path.suffix == ".gz" else path.open("rb")


class _GzipFile(gzip.GzipFile):
    """Gzip file whose damage is one sentence, whoever reads it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "rb")
        self._path = path

    def read(self, size: int | None = -1) -> bytes:
        """Return `size` bytes, or all."""
        try:
            return super().read(-1 if size is None else size)
        except _DAMAGED as error:
            raise self._error(error) from error

    def readline(self, size: int | None = -1) -> bytes:
        """Return the next line; iteration calls this too."""
        try:
            return super().readline(-1 if size is None else size)
        except _DAMAGED as error:
            raise self._error(error) from error

    def _error(self, error: Exception) -> DataError:
        return DataError(f"{self._path.name} is not a complete gzip file ({error}); download it again.")
