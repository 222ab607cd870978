"""File readers shared by the sources: files of many kinds to numbered rows."""

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
from retort.offline.data.rejects import Rejects
from retort.offline.data.sources import RawTable, existing_directory
from retort.offline.data.sources._json_lines import open_bytes, read_json_lines, refuse_empty
from retort.shared.base.errors import DataError

UNIT_SEPARATOR = "\x1f"  # replaces separators of several characters


def find_file(root: Path | None, *names: str) -> Path:
    """Return the first of these files that exists under `root`.

    Raises:
        DataError: None exists.
    """
    found = find_optional_file(root, *names)
    if found is None:
        raise DataError(
            f"{require_directory(root)} contains none of: {', '.join(names)}; name the right directory with --data."
        )
    return found


def find_optional_file(root: Path | None, *names: str) -> Path | None:
    """Return the first of these files that exists, or None.

    A name may be a pattern; of several matches the first by name counts.
    """
    for name in names:
        path = Path(name)
        matches = [path] * path.exists() if path.is_absolute() else sorted(require_directory(root).glob(name))
        if matches:
            return matches[0]
    return None


def require_directory(root: Path | None) -> Path:
    """Return the data directory.

    Raises:
        DataError: None was given.
    """
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
    """Rename columns of a file's rows.

    Args:
        columns: our name → the file's.
        lists: attribute → separator of its values.
        others: Also keep the columns that `columns` does not name.

    Raises:
        DataError: A column is missing.
    """
    existing = [name for name in frame.collect_schema().names() if name != "row"]
    missing = [file_name for file_name in columns.values() if file_name not in existing]
    if missing:
        raise DataError(
            f"{path.name} has no column {missing[0]!r}; its columns are: {', '.join(existing)}. Correct the "
            "name in [data.options]."
        )
    chosen = [pl.col(file_name).alias(name) for name, file_name in columns.items()]
    if others:
        taken = {*columns.values(), *columns}
        chosen += [pl.col(name) for name in existing if name not in taken]
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
    """Read all columns as text, plus `row`; rows with too few or too many fields are rejected.

    Args:
        separator: May have several characters (MovieLens' `::`).
        header: Column names of a file that has none.
        quoted: Whether fields may be quoted.

    Raises:
        DataError: The file cannot be read.
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
                # one thread: the handler receives the row's number only then
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
    """Name the row in which the bytes are not text, if that is the problem."""
    if isinstance(error, UnicodeDecodeError) or "UTF8" in str(error):
        with open_bytes(path) as file:
            for row, line in enumerate(file, start=1):
                if (bad := _undecodable(line, encoding)) is not None:
                    return DataError(
                        f"{path.name}, row {row}: the bytes {bad!r} are not {encoding} text; save the file as UTF-8, "
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
    """Read the column names on the first line."""
    with open_bytes(path) as file:
        line = file.readline().decode(encoding).removeprefix("\ufeff")
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    names = next(csv.reader([line], delimiter=delimiter, quoting=quoting), [])
    duplicate = next((name for name in names if names.count(name) > 1), None)
    if duplicate is not None:
        raise DataError(f"{path.name}, row 1: column {duplicate!r} appears twice in the header; rename one of them.")
    return names


def _opened(path: Path, separator: str, encoding: str) -> IO[bytes]:
    """Open the file as UTF-8 with a single-character separator; only small, old layouts are converted in memory."""
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
    """Read CSV, TSV, Parquet or JSON lines, by the file's suffix; `.gz` may follow all but Parquet.

    Raises:
        DataError: The suffix is unknown, or the file cannot be read.
    """
    kind = path.name.removesuffix(".gz").rpartition(".")[2].lower()
    if kind == "parquet":
        return read_parquet(path)
    if kind in ("jsonl", "json", "ndjson"):
        return read_json_lines(path, rejects, progress)
    if kind in ("csv", "tsv", "tab"):
        usual = "," if kind == "csv" else "\t"
        return read_delimited(path, rejects, separator=separator or usual, encoding=encoding)
    raise DataError(f"{path.name}: unknown kind of table; use .parquet, .csv, .tsv or .jsonl.")


def read_parquet(path: Path) -> pl.LazyFrame:
    """Scan a Parquet file, with `row`, the record's number from 1; no data are read yet."""
    refuse_empty(path)
    frame = pl.scan_parquet(path)
    try:
        names = frame.collect_schema().names()
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path.name} is not a readable Parquet file ({error}); write it again.") from error
    return frame.select(pl.exclude("row") if "row" in names else pl.all()).with_row_index("row", offset=1)
