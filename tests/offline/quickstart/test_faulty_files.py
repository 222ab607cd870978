"""Files with a fault: the quickstart names it in one sentence, before anything is trained, and leaves nothing out."""

import gzip
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retort.offline.common.progress import Silent
from retort.offline.data.load import DataConfig, load_data
from retort.offline.quickstart.recipe_file import data_section
from retort.offline.quickstart.recognised import recognise
from retort.shared.base.errors import DataError

_ROWS = [(f"u{n % 17}", f"i{n % 23}", 1_600_000_000 + 60 * n) for n in range(200)]
_HEADER = "user_id,item_id,timestamp\n"


def _csv(rows: object = _ROWS) -> str:
    return _HEADER + "".join(f"{user},{item},{at}\n" for user, item, at in rows)  # type: ignore[attr-defined]


def _read(path: Path, items: Path | None = None) -> pl.DataFrame:
    found = recognise(path, items)
    return load_data(DataConfig(**data_section(found)), path.parent, Silent()).interactions.frame


def _refused(path: Path, sentence: str, items: Path | None = None) -> None:
    with pytest.raises(DataError, match=sentence):
        _read(path, items)


def test_damaged_gzip_is_one_sentence_in_every_format(tmp_path: Path) -> None:
    whole = gzip.compress(_csv().encode())
    lines = gzip.compress(b'{"user": "u1", "item": "i1"}\n' * 4000)
    for name, content in {
        "cut.csv.gz": whole[: len(whole) // 2],
        "garbled.csv.gz": whole[:40] + b"\xff" * 40 + whole[80:],
        "cut.jsonl.gz": lines[: len(lines) // 2],
        "garbled.jsonl.gz": lines[:40] + b"\xff" * 40 + lines[80:],
        "none.csv.gz": b"user,item\n",
    }.items():
        (tmp_path / name).write_bytes(content)
        _refused(tmp_path / name, f"{name} is not a complete gzip file .*; download it again")


def test_files_of_another_kind_are_named(tmp_path: Path) -> None:
    for name, content, sentence in (
        ("zipped.csv", gzip.compress(b"user,item\n"), "compressed by gzip; rename it to zipped.csv.gz"),
        ("book.csv", b"PK\x03\x04 and so on", "zip archive or a spreadsheet"),
        ("log.csv", b"PAR1 and so on", "is a Parquet file; end its name in .parquet"),
        ("nul.csv", _csv().encode() + b"u\0,i,1\n", "is not text .a NUL byte in row 202"),
        ("excel.csv", b"sep=;\n" + _csv().replace(",", ";").encode(), 'row 1: remove the line "sep="'),
        ("array.json", b'[{"user": "u1", "item": "i1"}]', "one JSON array; write one object on each line"),
        ("pretty.json", b'[\n {"user": "u1", "item": "i1"}\n]', "one JSON array; write one object on each line"),
    ):
        (tmp_path / name).write_bytes(content)
        _refused(tmp_path / name, sentence)


def test_a_column_that_appears_twice_is_refused(tmp_path: Path) -> None:
    lines = "".join(f"{user},{item},{at},{item}\n" for user, item, at in _ROWS)
    (tmp_path / "log.csv").write_text("user_id,item_id,timestamp,item_id\n" + lines)
    _refused(tmp_path / "log.csv", "column 'item_id' appears twice in the header")


def test_an_open_quote_in_the_first_row_is_named_with_its_row(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(_csv().replace("u0,", '"u0,', 1))
    _refused(tmp_path / "log.csv", "row 2: a quote opens a value here and is not closed")


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_two_open_quotes_swallow_no_rows(tmp_path: Path, rows: int) -> None:
    """The quote that is not closed ends at another one, a few rows later."""
    (tmp_path / "plain.csv").write_text(_csv())
    titles = [f"i{n},{'' if n != 5 else chr(34)}Title {n} of it{'' if n != 5 + rows else chr(34)},x" for n in range(23)]
    (tmp_path / "items.csv").write_text("item_id,title,genre\n" + "\n".join(titles) + "\n")
    _refused(tmp_path / "plain.csv", r"items.csv, record 6, column 'title'.*look like rows", tmp_path / "items.csv")

    lines = _csv().splitlines(keepends=True)
    lines[60] = lines[60].replace("i", '"i', 1)
    lines[60 + rows] = lines[60 + rows].replace(",16", '",16', 1)
    (tmp_path / "log.csv").write_text("".join(lines))
    _refused(tmp_path / "log.csv", r"record 60, column 'item_id'.*look like rows")


def test_quoted_line_breaks_with_as_many_separators_pass(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(_csv())
    texts = [f'i{n},"A story, of {n}\nand more, really",x' for n in range(23)]
    (tmp_path / "items.csv").write_text("item_id,title,genre\n" + "\n".join(texts) + "\n")
    assert _read(tmp_path / "log.csv", tmp_path / "items.csv").height == len(_ROWS)


def test_parquet_of_other_types_is_read_or_refused_in_one_sentence(tmp_path: Path) -> None:
    users, items, times = ([row[place] for row in _ROWS] for place in range(3))
    raw = pa.array([b"u\xff" if n == 3 else user.encode() for n, user in enumerate(users)], pa.binary())
    as_text = pa.Array.from_buffers(pa.string(), len(raw), raw.buffers())
    for name, column in {"bytes": raw, "dictionary": pa.array(users).dictionary_encode(), "damaged": as_text}.items():
        pq.write_table(pa.table({"user": column, "item": items, "ts": times}), tmp_path / f"{name}.parquet")
    assert _read(tmp_path / "bytes.parquet").height == len(_ROWS) - 1, "one user's bytes are no text"
    assert set(_read(tmp_path / "dictionary.parquet")["user_id"]) == set(users)
    _refused(tmp_path / "damaged.parquet", "damaged.parquet cannot be read .*invalid UTF-8")


def test_utf_32_is_read(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(_csv().replace("u", "ю").replace("юser", "user"), encoding="utf-32")
    assert set(_read(tmp_path / "log.csv")["user_id"]) == {f"ю{n}" for n in range(17)}


@pytest.mark.parametrize("written", ["44087.51852", "2020-W37-7", "1600000000,5", "2020-09-13 12:26 Europe/Berlin"])
def test_times_that_cannot_be_read_are_not_left_out(tmp_path: Path, written: str) -> None:
    (tmp_path / "log.csv").write_text(_csv((user, item, f'"{written}"') for user, item, _ in _ROWS))
    _refused(tmp_path / "log.csv", f"'timestamp' is named as a time, but its values are no times, such as '{written}'")


def test_small_numbers_under_the_name_of_a_time_are_positions(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(_csv((user, item, 200 - n) for n, (user, item, _) in enumerate(_ROWS)))
    first = _read(tmp_path / "log.csv").filter(pl.col("user_id") == "u0")["item_id"].to_list()
    assert first == [item for user, item, _ in reversed(_ROWS) if user == "u0"]


@pytest.mark.parametrize("form", ["%a, %d %b %Y %H:%M:%S GMT", "%d-%b-%Y %H:%M:%S", "%b %d, %Y %I:%M %p"])
def test_dates_with_names_of_months_are_read(tmp_path: Path, form: str) -> None:
    rows = ((user, item, f'"{datetime.fromtimestamp(at, UTC):{form}}"') for user, item, at in _ROWS)
    step = 1 if "%S" in form else 60
    (tmp_path / "log.csv").write_text(_csv(rows))
    assert _read(tmp_path / "log.csv")["timestamp"].sort().to_list() == [at // step * step * 1000 for *_, at in _ROWS]


def test_times_before_1970_are_rejects(tmp_path: Path) -> None:
    rows = [(user, item, -at if n == 5 else at) for n, (user, item, at) in enumerate(_ROWS)]
    (tmp_path / "log.csv").write_text(_csv(rows))
    loaded = load_data(DataConfig(**data_section(recognise(tmp_path / "log.csv", None))), tmp_path, Silent())
    assert loaded.rejects["reason"].to_list() == ["earlier than 1970; set time_unit if it is right"]
