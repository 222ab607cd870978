"""Layout of a table's file: kind, encoding, separator and header, recognised from its first megabyte."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from retort.offline.common.progress import Silent
from retort.offline.data.events import collect
from retort.offline.data.rejects import Rejects
from retort.offline.data.sources import RawTable
from retort.offline.data.sources._delimited import MARKS, QuoteScanner
from retort.offline.data.sources._files import read_parquet
from retort.offline.data.sources._json_lines import open_bytes, read_json_lines
from retort.offline.quickstart.encodings import recognise_encoding
from retort.offline.quickstart.no_table import refuse_what_is_no_table, suffix_of
from retort.shared.base.errors import DataError

_SAMPLE_BYTES = 1 << 20
_SAMPLE_ROWS = 5_000
_SEPARATORS = (",", ";", "\t", "|", "::")
# text that is a value rather than the name of a column
_VALUE = re.compile(r"\s*|[-+]?[\d.,]+(?:[eE][-+]?\d+)?|\d{1,4}[./-]\d{1,2}[./-]\d{1,4}.*|[0-9a-f-]{32,36}|.*\d{4,}.*")
_WORD = re.compile(r"[^\W\d_]")

Kind = Literal["parquet", "jsonl", "delimited"]


@dataclass(frozen=True)
class Layout:
    """How a file is written, and its first rows.

    Attributes:
        kind: Kind of file.
        frame: The first rows; delimited files have text columns only.
        separator: Separator of a delimited file.
        encoding: Encoding of a delimited file.
        header: Whether the first row names the columns; without, they are called column_1, column_2, ….
        notes: What was recognised, as sentences without a full stop.
    """

    path: Path
    kind: Kind
    frame: pl.DataFrame
    separator: str = ","
    encoding: str = "utf-8"
    header: bool = True
    notes: tuple[str, ...] = ()

    @property
    def usual(self) -> bool:
        """Whether a reader needs neither separator nor encoding nor names to be told."""
        expected = {"csv": ",", "tsv": "\t", "tab": "\t"}.get(suffix_of(self.path))
        return self.kind != "delimited" or (self.separator == expected and self.encoding == "utf-8" and self.header)


def read_layout(path: Path, encoding: str | None = None) -> Layout:
    """Recognise the layout of a file.

    Args:
        encoding: Encoding of a delimited file, if another file tells it.

    Raises:
        DataError: The file is missing, empty, or no table.
    """
    refuse_what_is_no_table(path)
    suffix = suffix_of(path)
    if suffix == "parquet":
        return Layout(path, "parquet", _first_rows(path, read_parquet(path)), notes=("Parquet",))
    if suffix in ("jsonl", "json", "ndjson"):
        rows = read_json_lines(path, Rejects(), Silent(), n_lines=_SAMPLE_ROWS)
        return Layout(path, "jsonl", _first_rows(path, rows), notes=("JSON lines",))
    return _delimited(path, encoding)


def _first_rows(path: Path, frame: pl.LazyFrame) -> pl.DataFrame:
    """Return the first rows.

    Raises:
        DataError: The file is damaged, or contains bytes that are not text.
    """
    return collect(RawTable(path.name, frame), frame.head(_SAMPLE_ROWS)).drop("row", strict=False)


def _delimited(path: Path, given: str | None) -> Layout:
    with open_bytes(path) as file:
        sample = file.read(_SAMPLE_BYTES)
    _refuse_other_files(path, sample)
    encoding, how = (given, f"encoding {given} (as the other file)") if given else recognise_encoding(sample)
    text = sample.decode(encoding, errors="ignore").removeprefix("\ufeff")
    lines = text.splitlines(keepends=True)
    if len(sample) == _SAMPLE_BYTES and len(lines) > 1:
        lines.pop()  # it may be cut
    separator, rows = _split(path, lines[: _SAMPLE_ROWS + 1])
    header = _has_header(path, rows)
    names = [name.strip() for name in rows[0]] if header else [f"column_{i + 1}" for i in range(len(rows[0]))]
    names = [name or f"unnamed_{place + 1}" for place, name in enumerate(names)]
    width = len(names)
    values = [row for row in rows[header:] if len(row) == width]
    frame = pl.DataFrame(values, schema=dict.fromkeys(names, pl.String), orient="row")
    shown = {"\t": "tabs", ",": "commas", ";": "semicolons"}.get(separator, repr(separator))
    notes = (f"text separated by {shown}", how, "the first row is a header" if header else "no header")
    return Layout(path, "delimited", frame.with_columns(pl.all().replace("", None)), separator, encoding, header, notes)


def _refuse_other_files(path: Path, sample: bytes) -> None:
    """Raise DataError for a file that is no text, or that only a spreadsheet program reads."""
    if b"\0" in sample and not sample.startswith(tuple(MARKS)):
        row = sample[: sample.index(b"\0")].count(b"\n") + 1
        raise DataError(
            f"{path.name} is not text (a NUL byte in row {row}); remove it, or "
            "give a CSV, TSV, Parquet or JSON lines file."
        )
    if re.match(rb'(?:\xef\xbb\xbf)?"?sep=.?"?\r?\n', sample):
        raise DataError(f'{path.name}, row 1: remove the line "sep=", which only spreadsheet programs understand.')


def _split(path: Path, lines: Sequence[str]) -> tuple[str, list[list[str]]]:
    """Split lines at the separator that gives the most columns of equal number.

    Raises:
        DataError: No separator gives two columns.
    """
    best: tuple[float, int, str, list[list[str]]] = (0.0, 1, ",", [])
    for separator in _SEPARATORS:
        rows = _rows(lines, separator)
        if not rows:
            continue
        widths = [len(row) for row in rows]
        width = max(set(widths), key=widths.count)
        share = widths.count(width) / len(widths)
        if width > 1 and (round(share, 1), width) > best[:2]:
            best = (round(share, 1), width, separator, rows)
    if not best[3]:
        _refuse_open_quote(path, lines)
        raise DataError(
            f"{path.name}: no separator (comma, semicolon, tab, | or ::) splits its lines into columns; give a table "
            "with at least a user and an item column, and one event on each line."
        )
    return best[2], best[3]


def _refuse_open_quote(path: Path, lines: Sequence[str]) -> None:
    """Raise DataError if a quote that is not closed explains why no separator fits."""
    text = "".join(lines).encode()
    for separator in (";", "\t", "|", ","):
        if separator.encode() in text.splitlines()[0]:
            scanner = QuoteScanner(path.name, separator, 1)
            scanner.feed(text)
            scanner.finish()


def _rows(lines: Sequence[str], separator: str) -> list[list[str]]:
    if len(separator) > 1:
        return [line.rstrip("\r\n").split(separator) for line in lines if line.strip()]
    try:
        return [row for row in csv.reader(lines, delimiter=separator) if row]
    except csv.Error:
        return []


def _has_header(path: Path, rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names the columns: distinct words, where later rows have other kinds of values.

    Raises:
        DataError: Two columns have one name.
    """
    first = [name.strip() for name in rows[0]]
    if any(_VALUE.fullmatch(name) or not _WORD.search(name) for name in first[1:] or first):
        return False
    below = rows[1:]
    if below and _VALUE.fullmatch(first[0]) and first[0]:
        return False
    # a name is no value of its own column
    if any(name and sum(row[place : place + 1] == [name] for row in below) for place, name in enumerate(first)):
        return False
    if duplicate := next((name for name in first if name and first.count(name) > 1), None):
        raise DataError(f"{path.name}, row 1: column {duplicate!r} appears twice in the header; rename one of them.")
    return True
