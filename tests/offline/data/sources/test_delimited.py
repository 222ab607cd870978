"""Delimited text: quotes that are not closed, line ends, encodings and columns without a name."""

import gzip
from pathlib import Path

import polars as pl
import pytest

from retort.offline.common.progress import Silent
from retort.offline.data.load import DataConfig, load_data
from retort.offline.data.rejects import Rejects
from retort.offline.data.sources import _delimited, kion
from retort.offline.data.sources._files import read_any, read_delimited
from retort.shared.base.errors import DataError


def frame_of(path: Path, content: str | bytes, **options: str) -> pl.DataFrame:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_any(path, Rejects(), Silent(), **options).collect()


@pytest.mark.parametrize("block_bytes", [7, 64, 1 << 20])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_an_unclosed_quote_is_refused_with_its_row(
    suffix: str, block_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_delimited, "BLOCK_BYTES", block_bytes)
    rows = [f"u{n},i{n},t{n}" for n in range(1000)]
    rows[600] = 'u1,i600,"t600'
    content = ("user_id,item_id,note\n" + "\n".join(rows) + "\n").encode()
    (tmp_path / f"interactions.csv{suffix}").write_bytes(gzip.compress(content) if suffix else content)
    with pytest.raises(DataError, match=r"interactions\.csv.*, row 602: a quote opens"):
        load_data(DataConfig(options={"interactions": f"interactions.csv{suffix}"}), tmp_path, Silent())


@pytest.mark.parametrize(
    "rows",
    [
        ['1,"Open', "2,Two", '3,"Three"', "4,Four"],  # ends before the next quoted value
        ['1,"Open', "2,Two", '3,"Three, and more"'],
        ['1,"Open ""and"" more', "2,Two"],
        ['1,"Open', *(f"{n},title {n}" for n in range(2, 20)), '20,a 5" screen"'],  # ends as if it were right
        ['1,"Open', *(f"{n},title {n}" for n in range(2, 20)), '20,Twenty"'],  # ends where another one was forgotten
        ['1,One', '2,"the last row is cut'],
    ],
)  # fmt: skip
def test_rows_never_vanish_into_a_value(rows: list[str], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"items\.csv, (row|record) \d+.*quote"):
        frame_of(tmp_path / "items.csv", "item_id,title\n" + "\n".join(rows) + "\n")


@pytest.mark.parametrize("block_bytes", [5, 6, 7, 1 << 20])
def test_quotes_that_are_closed_pass(block_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_delimited, "BLOCK_BYTES", block_bytes)
    content = '"item_id","ti\ntle"\r\n1,"two\nlines"\r\n2,"a ""b"", c"\n3,5" disk\n4,""\n5,"x" y\n"6","z"'
    frame = frame_of(tmp_path / "items.csv", content)
    assert frame["ti\ntle"].to_list() == ["two\nlines", 'a "b", c', '5" disk', None, "x y", "z"]


def test_a_long_quoted_text_is_no_table(tmp_path: Path) -> None:
    text = "\n".join(f"Paragraph {n}, with a comma" if n % 3 else "None here" for n in range(60))
    assert frame_of(tmp_path / "items.csv", f'item_id,text\n1,"{text}"\n')["text"].to_list() == [text]


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_every_line_end_is_read(end: str, tmp_path: Path) -> None:
    content = end.join(["user_id,item_id", "u,a", "v,b", ""])
    assert frame_of(tmp_path / "log.csv", content).rows() == [("u", "a", 2), ("v", "b", 3)]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8-sig", "cp1251", "UTF8"])
def test_encodings(encoding: str, tmp_path: Path) -> None:
    content = "item_id,title\n1,Фильм\n2,Кино\n".encode(encoding)
    frame = frame_of(tmp_path / "items.csv", content, encoding=encoding)
    assert frame.rows() == [("1", "Фильм", 2), ("2", "Кино", 3)]


def test_utf16_without_the_option_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'set encoding = "utf-16"'):
        frame_of(tmp_path / "items.csv", "item_id\n1\n".encode("utf-16"))


def test_a_header_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="row 1: a column name has more than 131,072 characters"):
        frame_of(tmp_path / "items.csv", "x" * 200_000)
    with pytest.raises(DataError, match="row 1 is longer than 4 MiB"):
        frame_of(tmp_path / "items.csv", b'[{"a":1},' * 600_000)


def test_columns_without_a_name_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text("user_id,item_id,last_watch_dt,watched_pct\nu,1,2021-03-01,90\n")
    (tmp_path / "items_en.csv").write_text(",item_id,title,genres,\n999,1,Film,drama,8\n")
    tables = kion.read(kion.Config(), tmp_path, Rejects(), Silent())
    assert tables.items[0].frame.collect().columns == ["row", "item_id", "title", "genres"]
    plain = DataConfig(
        options={"items": "items_en.csv", "timestamp": "last_watch_dt", "users": "users.parquet"},
        text_columns=None,
    )
    pl.DataFrame(
        {"user_id": ["u"], "age": [3], "__index_level_0__": [7], "Unnamed: 0": [8], "Unnamed: 0.1": [9], "_c0": [1]}
    ).write_parquet(tmp_path / "users.parquet")
    loaded = load_data(plain, tmp_path, Silent())
    assert loaded.items.frame["text"].to_list() == ["Film. genres: drama"]
    assert loaded.users is not None
    assert loaded.users.columns == ["user_id", "age"]


def test_too_many_fields_keep_their_row_number(tmp_path: Path) -> None:
    rejects = Rejects()
    (tmp_path / "log.csv").write_text("a,b\n1,2\n3\n4,5\n6,7,8\n9,9\n")
    frame = read_delimited(tmp_path / "log.csv", rejects).collect()
    assert frame["row"].to_list() == [2, 4, 6]
    assert rejects.frame()["row"].to_list() == [3, 5]
