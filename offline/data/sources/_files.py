"""File readers shared by the sources: files of many kinds to numbered rows."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
from polars import selectors

from retort.offline.common.progress import Progress
from retort.offline.data.rejects import Rejects
from retort.offline.data.sources import RawTable, existing_directory
from retort.offline.data.sources._delimited import BLOCK_BYTES, DelimitedStream, refuse_undecodable, undecodable
from retort.offline.data.sources._json_lines import first_record, read_json_lines, refuse_empty
from retort.offline.data.sources._swallowed_rows import refuse_swallowed_rows
from retort.shared.base.errors import DataError

ROWS_PER_FILE = 1 << 40  # more than any file has, so that positions of two files never meet
UNNAMED = "\x1eunnamed "
_SEPARATORS = (";", "\t", "|", "::", ",")
_VALUE = re.compile(r"-?\d+(?:\.\d+)?|\d{4}-\d{2}-\d{2}.*|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}.*")
# Names of a column of row numbers by pandas (also of files that were saved twice), readr, Spark and DuckDB.
_ROW_NUMBERS = re.compile(
    r"|Unnamed: \d+(?:[._]\w+)*|__index_level_\d+__|level_0|\.\.\.\d+|_c0|column0+", re.IGNORECASE
)


def is_row_number(name: str) -> bool:
    """Whether programs give a column without a name, such as one of row numbers, this name."""
    return bool(_ROW_NUMBERS.fullmatch(name))


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
    """Return the first of these files that exists, or None; a name may be a pattern.

    Raises:
        DataError: A pattern fits several files, so that one would be chosen by chance.
    """
    for name in names:
        path = Path(name)
        matches = [path] * path.exists() if path.is_absolute() else sorted(require_directory(root).glob(name))
        if len(matches) > 1:
            listed = ", ".join(str(match.relative_to(require_directory(root))) for match in matches)
            raise DataError(
                f"{root} contains several files that fit {name}: {listed}; name the right one in [data.options] or "
                "with --data, or move the others away."
            )
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
        others: Also keep the columns that `columns` does not name, except row numbers.

    Raises:
        DataError: A column is missing.
    """
    existing = [name for name in frame.collect_schema().names() if name != "row"]
    missing = [file_name for file_name in columns.values() if file_name not in existing]
    if missing:
        raise DataError(_no_column(path, missing[0], existing))
    chosen = [pl.col(file_name).alias(name) for name, file_name in columns.items()]
    if others:
        taken = {*columns.values(), *columns}
        chosen += [pl.col(name) for name in existing if name not in taken and not is_row_number(name)]
    return RawTable(path.name, frame.select("row", *chosen), dict(columns), dict(lists or {}))


def _no_column(path: Path, missing: str, existing: Sequence[str]) -> str:
    """Say which column is missing, and the likely cause: another separator, no header, or another spelling."""
    shown = ", ".join(name[:80] for name in existing[:20]) + (", …" if len(existing) > 20 else "")
    sentence = f"{path.name} has no column {missing!r}; its columns are: {shown}. "
    for separator in _SEPARATORS:
        parts = [part.strip() for name in existing for part in name.split(separator)]
        if len(parts) > len(existing) and (missing in parts or len(existing) == 1):
            written = separator.replace("\t", "\\t")
            return sentence + f'Its values are separated by "{written}": set separator = "{written}" in [data.options].'
    if any(_VALUE.fullmatch(name.strip()) for name in existing):
        return sentence + "Its first row looks like data: write the names of the columns above it."
    alike = [name for name in existing if name.strip().lower() == missing.strip().lower()]
    if alike:
        return sentence + f"Write {alike[0]!r} in [data.options], with the same capitals and spaces."
    return sentence + "Correct the name in [data.options]."


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
    first_row = 1 if header else 2

    def reject(row: Any) -> str:
        bad.append(row.number)
        reason = f"{row.actual_columns} fields where {row.expected_columns} are expected"
        rejects.add(path.name, row.number + first_row - 1, "", row.text, reason)
        return "skip"

    refuse_empty(path)
    try:
        stream = DelimitedStream(path, separator, encoding, quoted=quoted, has_header=not header)
        names = unnamed_columns_named(list(header) if header else stream.header)
        parsed = _parsed(stream, names, reject, quoted=quoted)
    except UnicodeDecodeError as error:
        raise undecodable(path, error, encoding, 0) from error
    except (pa.ArrowInvalid, LookupError, EOFError, OSError) as error:
        refuse_undecodable(path, encoding)
        raise DataError(
            f"{path.name} cannot be read as delimited text ({error}); repair or download it again."
        ) from error
    frame = pl.DataFrame(parsed)
    if stream.n_lines > frame.height + len(bad):
        refuse_swallowed_rows(path.name, frame, stream.delimiter)
    frame = frame.select(name for name in frame.columns if not name.startswith(UNNAMED))
    return frame.with_columns(row=_row_numbers(frame.height, bad, first_row)).lazy()


def unnamed_columns_named(names: Sequence[str]) -> list[str]:
    """Give columns without a name (a row number that pandas wrote) one that is left out later."""
    return [name or f"{UNNAMED}{place}" for place, name in enumerate(names)]


def _parsed(stream: DelimitedStream, names: list[str], reject: Callable[[Any], str], *, quoted: bool) -> pa.Table:
    """Parse all records as text."""
    schema = dict.fromkeys(names, pa.string())
    try:
        return pa_csv.read_csv(
            pa.PythonFile(stream, mode="r"),
            # one thread: the handler receives the row's number only then
            read_options=pa_csv.ReadOptions(use_threads=False, column_names=names, block_size=BLOCK_BYTES),
            parse_options=pa_csv.ParseOptions(
                delimiter=stream.delimiter,
                quote_char='"' if quoted else False,
                newlines_in_values=quoted,
                invalid_row_handler=reject,
            ),
            convert_options=pa_csv.ConvertOptions(column_types=schema, strings_can_be_null=True, null_values=[""]),
        )
    except pa.ArrowInvalid as error:
        if str(error) == "Empty CSV file":
            return pa.table({name: pa.array([], pa.string()) for name in names})
        # a quote that is not closed is the better explanation
        stream.read_to_end()
        raise


def _row_numbers(n_rows: int, bad: Sequence[int], first: int) -> pl.Series:
    """Numbers of the kept records, counted from `first`; those in `bad` (from 1) were skipped."""
    numbers = np.arange(first, first + n_rows + len(bad), dtype=np.int64)
    return pl.Series(np.delete(numbers, np.asarray(bad, dtype=np.int64) - 1))


def read_any(
    path: Path,
    rejects: Rejects,
    progress: Progress,
    *,
    separator: str | None = None,
    encoding: str = "utf-8",
    header: Sequence[str] | None = None,
    keys: Collection[str] | None = None,
) -> pl.LazyFrame:
    """Read CSV, TSV, Parquet or JSON lines, by the file's suffix; `.gz` may follow all but Parquet.

    A file with another suffix is delimited text if its separator is given.

    Args:
        keys: JSON lines: keys that are enough where the first object has them all; long texts of reviews, for example,
            then take no memory. None: all.

    Raises:
        DataError: The suffix is unknown, or the file cannot be read.
    """
    kind = path.name.removesuffix(".gz").rpartition(".")[2].lower()
    if kind == "parquet":
        return read_parquet(path)
    if kind in ("jsonl", "json", "ndjson"):
        chosen = keys if keys and set(keys) <= first_record(path).keys() else None
        pick = (lambda record: {key: record.get(key) for key in chosen}) if chosen else None
        return read_json_lines(path, rejects, progress, pick)
    if kind in ("csv", "tsv", "tab") or separator:
        usual = "," if kind == "csv" else "\t"
        return read_delimited(path, rejects, separator=separator or usual, encoding=encoding, header=header)
    raise DataError(
        f"{path.name}: unknown kind of table; use .parquet, .csv, .tsv or .jsonl, or set separator in [data.options] "
        "for delimited text."
    )


def read_parquet(path: Path) -> pl.LazyFrame:
    """Scan a Parquet file, with `row`, the record's number from 1; no data are read yet."""
    refuse_empty(path)
    frame = pl.scan_parquet(path)
    try:
        names = frame.collect_schema().names()
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path.name} is not a readable Parquet file ({error}); write it again.") from error
    frame = frame.with_columns(
        # text that was stored as numbers of a dictionary, or as bytes, is text; U+FFFD stands for other bytes
        selectors.by_dtype(pl.Categorical, pl.Enum).cast(pl.String),
        selectors.binary().map_batches(_decoded_text, return_dtype=pl.String),
    )
    return frame.select(pl.exclude("row") if "row" in names else pl.all()).with_row_index("row", offset=1)


def _decoded_text(values: pl.Series) -> pl.Series:
    texts = [None if value is None else value.decode("utf-8", "replace") for value in values]
    return pl.Series(values.name, texts, dtype=pl.String)
