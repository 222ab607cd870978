"""Reading files of many kinds into numbered rows; what every source that reads files shares."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv

from retort.offline.common.progress import Progress
from retort.offline.data.data_directory import existing_directory
from retort.offline.data.rejects import Rejects
from retort.offline.data.sources import RawTable
from retort.offline.data.sources._json_lines import open_bytes, read_json_lines, refuse_empty
from retort.shared.base.errors import DataError

UNIT_SEPARATOR = "\x1f"  # stands in for separators of several characters


def find_file(root: Path | None, *names: str) -> Path:
    """The first of these files that exists under `root`; DataError if none does."""
    found = find_optional_file(root, *names)
    if found is None:
        raise DataError(
            f"{require_directory(root)} holds none of: {', '.join(names)}; name the right directory with --data."
        )
    return found


def find_optional_file(root: Path | None, *names: str) -> Path | None:
    """Like `find`, for files that may be missing. A name may be a pattern; of several matches the first by name."""
    for name in names:
        whole = Path(name)
        matches = [whole] * whole.exists() if whole.is_absolute() else sorted(require_directory(root).glob(name))
        if matches:
            return matches[0]
    return None


def require_directory(root: Path | None) -> Path:
    """The data directory, or a DataError that says how to name it."""
    if root is None:
        raise DataError("this source reads files; name their directory with --data DIR.")
    return existing_directory(root)


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
    except (pa.ArrowInvalid, UnicodeDecodeError, LookupError, EOFError, OSError) as error:
        raise _unreadable(path, encoding, error) from error
    frame = pl.DataFrame(parsed)
    return frame.with_columns(row=_row_numbers(frame.height, bad, 1 if header else 2)).lazy()


def _unreadable(path: Path, encoding: str, error: Exception) -> DataError:
    """Says in which row the bytes are no text, if that is what went wrong."""
    if isinstance(error, UnicodeDecodeError) or "UTF8" in str(error):
        with open_bytes(path) as file:
            for row, line in enumerate(file, start=1):
                if (bad := _undecodable(line, encoding)) is not None:
                    return DataError(
                        f"{path.name}, row {row}: the bytes {bad!r} are no {encoding} text; save the file as UTF-8, "
                        "or name its encoding in [data.options]."
                    )
    return DataError(f"{path.name} cannot be read as delimited text ({error}); repair or download it again.")


def _undecodable(line: bytes, encoding: str) -> bytes | None:
    try:
        line.decode(encoding)
    except UnicodeDecodeError as bad:
        return line[bad.start : bad.end]
    return None


def _header(path: Path, delimiter: str, quoted: bool, encoding: str) -> list[str]:
    """Column names on the first line."""
    with open_bytes(path) as file:
        line = file.readline().decode(encoding).removeprefix("\ufeff")
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    names = next(csv.reader([line], delimiter=delimiter, quoting=quoting), [])
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path.name}, row 1: column {twice!r} appears twice in the header; rename one of them.")
    return names


def _opened(path: Path, separator: str, encoding: str) -> IO[bytes]:
    """The file as UTF-8 with a separator of one character; only small, old layouts need to be rewritten in memory."""
    if len(separator) == 1 and encoding == "utf-8":
        return open_bytes(path)
    with open_bytes(path) as file:
        text = file.read().decode(encoding)
    return io.BytesIO((text if len(separator) == 1 else text.replace(separator, UNIT_SEPARATOR)).encode())


def _row_numbers(n_rows: int, bad: Sequence[int], first: int) -> pl.Series:
    """Numbers of the kept records, counted from `first`; those in `bad` were skipped."""
    numbers = np.arange(first, first + n_rows + len(bad), dtype=np.int64)
    return pl.Series(np.delete(numbers, np.asarray(bad, dtype=np.int64) - first))


def read_any(
    path: Path, rejects: Rejects, progress: Progress, *, separator: str | None = None, encoding: str = "utf-8"
) -> pl.LazyFrame:
    """CSV, TSV, Parquet or JSON lines, by the file's name; `.gz` may follow all but Parquet."""
    kind = path.name.removesuffix(".gz").rpartition(".")[2].lower()
    if kind == "parquet":
        return read_parquet(path)
    if kind in ("jsonl", "json", "ndjson"):
        return read_json_lines(path, rejects, progress)
    if kind in ("csv", "tsv", "tab"):
        usual = "," if kind == "csv" else "\t"
        return read_delimited(path, rejects, separator=separator or usual, encoding=encoding)
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
