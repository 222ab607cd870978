"""Reading files of many kinds into numbered rows; what every source that reads files shares."""

import ast
import csv
import gzip
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal, cast

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv

from offline.data.rejects import Rejects
from offline.data.sources import RawTable
from offline.progress import Progress
from shared.errors import DataError

LINES_PER_FRAME = 200_000
UNIT_SEPARATOR = "\x1f"  # stands in for separators of several characters


def find(root: Path | None, *names: str) -> Path:
    """The first of these files that exists under `root`; DataError if none does."""
    found = find_optional(root, *names)
    if found is None:
        raise DataError(f"{given(root)} holds none of: {', '.join(names)}; name the right directory with --data.")
    return found


def find_optional(root: Path | None, *names: str) -> Path | None:
    """Like `find`, for files that may be missing. A name may be a pattern; of several matches the first by name."""
    for name in names:
        matches = sorted(given(root).glob(name))
        if matches:
            return matches[0]
    return None


def given(root: Path | None) -> Path:
    """The data directory, or a DataError that says how to name it."""
    if root is None:
        raise DataError("this source reads files; name their directory with --data DIR.")
    if not root.is_dir():
        raise DataError(f"the data directory {root} does not exist; name an existing one with --data DIR.")
    return root


def table(
    path: Path,
    frame: pl.LazyFrame,
    columns: Mapping[str, str],
    lists: Mapping[str, str] | None = None,
    *,
    others: bool = False,
) -> RawTable:
    """Rows of `path` with columns renamed. columns: our name → the file's; others: keep the unnamed columns too."""
    has = [name for name in frame.collect_schema().names() if name != "row"]
    missing = [theirs for theirs in columns.values() if theirs not in has]
    if missing:
        raise DataError(
            f"{path.name} has no column {missing[0]!r}; its columns are: {', '.join(has)}. Correct the column's name."
        )
    chosen = [pl.col(theirs).alias(ours) for ours, theirs in columns.items()]
    if others:
        taken = {*columns.values(), *columns}
        chosen += [pl.col(name) for name in has if name not in taken]
    return RawTable(path.name, frame.select("row", *chosen), dict(columns), dict(lists or {}))


def read_delimited(
    path: Path,
    rejects: Rejects,
    *,
    separator: str = ",",
    header: Sequence[str] | None = None,
    quoted: bool = True,
    encoding: str = "utf-8",
) -> pl.LazyFrame:
    """All columns as text, plus `row`. header: the column names of a file that has none.

    Rows with too few or too many fields are rejected. Separators of several characters are allowed (MovieLens' `::`).
    """
    bad: list[int] = []

    def reject(row: Any) -> str:
        bad.append(row.number)
        reason = f"{row.actual_columns} fields where {row.expected_columns} are expected"
        rejects.add(path.name, row.number, "", row.text, reason)
        return "skip"

    refuse_empty(path)
    delimiter = separator if len(separator) == 1 else UNIT_SEPARATOR
    try:
        names = list(header) if header else _header(path, delimiter, quoted, encoding)
        with _opened(path, separator, encoding) as file:
            parsed = pa_csv.read_csv(
                file,
                # one thread, because only then does the handler learn the row's number
                read_options=pa_csv.ReadOptions(use_threads=False, column_names=list(header) if header else None),
                parse_options=pa_csv.ParseOptions(
                    delimiter=delimiter,
                    quote_char='"' if quoted else False,
                    newlines_in_values=quoted,
                    invalid_row_handler=reject,
                ),
                convert_options=pa_csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
                ),
            )
    except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path.name} cannot be read as delimited text: {error}.") from error
    frame = pl.DataFrame(parsed)
    return frame.with_columns(row=_row_numbers(frame.height, bad, 1 if header else 2)).lazy()


def refuse_empty(path: Path) -> None:
    """A DataError for a file without a byte."""
    if path.stat().st_size == 0:
        raise DataError(f"{path.name} is empty; give a file with rows.")


def _header(path: Path, delimiter: str, quoted: bool, encoding: str) -> list[str]:
    """Column names on the first line."""
    with _bytes(path) as file:
        line = file.readline().decode(encoding).removeprefix("\ufeff")
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    names = next(csv.reader([line], delimiter=delimiter, quoting=quoting), [])
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path.name}, row 1: column {twice!r} appears twice in the header; rename one of them.")
    return names


def _bytes(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def _opened(path: Path, separator: str, encoding: str) -> IO[bytes]:
    """The file as UTF-8 with a separator of one character; only small, old layouts need to be rewritten in memory."""
    if len(separator) == 1 and encoding == "utf-8":
        return _bytes(path)
    with _bytes(path) as file:
        text = file.read().decode(encoding)
    return io.BytesIO((text if len(separator) == 1 else text.replace(separator, UNIT_SEPARATOR)).encode())


def _row_numbers(n_rows: int, bad: Sequence[int], first: int) -> pl.Series:
    """Numbers of the kept records, counted from `first`; those in `bad` were skipped."""
    numbers = np.arange(first, first + n_rows + len(bad), dtype=np.int64)
    return pl.Series(np.delete(numbers, np.asarray(bad, dtype=np.int64) - first))


def read_json_lines(
    path: Path,
    rejects: Rejects,
    progress: Progress,
    keys: Sequence[str] | None = None,
) -> pl.LazyFrame:
    """One JSON object a line (gzip or plain) as a table with `row`; keys: the only ones to keep.

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
        rows.append({key: record.get(key) for key in keys} if keys else record)
        numbers.append(number)
        if len(rows) == LINES_PER_FRAME:
            frames.append(_frame(rows, numbers))
            rows, numbers = [], []
            progress.update(f"reading {path.name}", number, None)
    frames.append(_frame(rows, numbers))
    return _stacked(frames).lazy()


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with _bytes(path) as file:
            yield from file
    except (EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"{path.name} is no whole gzip file ({error}); download it again.") from error


def _record(line: bytes) -> dict[str, Any] | None:
    """The object on a line; Amazon's older metadata are Python literals, not JSON."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            value = ast.literal_eval(line.decode("utf-8"))
        except (ValueError, SyntaxError, UnicodeDecodeError):
            return None
    return value if isinstance(value, dict) else None


def _frame(rows: list[dict[str, Any]], numbers: list[int]) -> pl.DataFrame:
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
    numeric = {name for name in mixed if all(kind.is_numeric() or kind == pl.Null() for kind in kinds[name])}
    casts = {name: pl.Float64() if name in numeric else pl.String() for name in mixed}
    return pl.concat([_cast(frame, casts) for frame in frames], how="diagonal_relaxed")


def _cast(frame: pl.DataFrame, casts: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """To the given kinds; a list becomes the JSON text of it."""
    for name in casts.keys() & set(frame.columns):
        column = frame[name]
        if column.dtype == pl.List:
            column = pl.Series(name, [None if v is None else as_text(v.to_list()) for v in column], dtype=pl.String)
        frame = frame.with_columns(column.cast(casts[name]).alias(name))
    return frame


def read_any(path: Path, rejects: Rejects, progress: Progress) -> pl.LazyFrame:
    """CSV, TSV, Parquet or JSON lines, by the file's name; `.gz` may follow all but Parquet."""
    kind = path.name.removesuffix(".gz").rpartition(".")[2].lower()
    if kind == "parquet":
        return read_parquet(path)
    if kind in ("jsonl", "json", "ndjson"):
        return read_json_lines(path, rejects, progress)
    if kind in ("csv", "tsv", "tab"):
        return read_delimited(path, rejects, separator="," if kind == "csv" else "\t")
    raise DataError(f"{path.name}: the name says no kind of table; use .parquet, .csv, .tsv or .jsonl.")


def read_parquet(path: Path) -> pl.LazyFrame:
    """A Parquet file with `row`, the record's number from 1; nothing is read yet."""
    refuse_empty(path)
    frame = pl.scan_parquet(path)
    try:
        names = frame.collect_schema().names()
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path.name} is no readable Parquet file: {error}.") from error
    return frame.select(pl.exclude("row") if "row" in names else pl.all()).with_row_index("row", offset=1)
