"""The text of an id does not depend on its neighbours or on the file's format, and no digit is lost."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retort.offline.common.progress import Silent
from retort.offline.data.check import find_problems
from retort.offline.data.ids import clean_ids, id_text
from retort.offline.data.load import DataConfig, load_data
from retort.offline.data.sources import _json_lines
from retort.shared.base.errors import DataError

BIG = 9_007_199_254_740_993  # 2^53 + 1, which no float holds


def ids(values: list[Any], dtype: Any = None) -> list[str | None]:
    column = pl.Series(values, dtype=dtype, strict=False)
    return clean_ids(column, pl.Series(range(2, len(values) + 2)), "log, column 'user'").text.to_list()


def users(root: Path, name: str) -> list[str]:
    config = DataConfig(options={"interactions": name}, repeats="keep", max_reject_share=1)
    return load_data(config, root, Silent()).interactions.frame["user_id"].to_list()


def json_users(root: Path, *values: Any) -> list[str]:
    rows = [json.dumps({"user_id": value, "item_id": "a"}) for value in values]
    (root / "log.jsonl").write_text("\n".join(rows) + "\n")
    return users(root, "log.jsonl")


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([1.0, -2.0, -0.0, 1.5], pl.Float64, ["1", "-2", "0", "1.5"]),
        ([1.0, 7.0], pl.Float32, ["1", "7"]),
        (["1.0", "1.50", "01.0", "1e3", "-0.0", "2.00"], pl.String, ["1", "1.50", "01.0", "1e3", "0", "2"]),
        ([BIG, BIG - 1], pl.Int64, [str(BIG), str(BIG - 1)]),
        ([(1 << 64) - 1], pl.UInt64, ["18446744073709551615"]),
        ([Decimal("7.00"), Decimal("9007199254740993.00")], pl.Decimal(38, 2), ["7", str(BIG)]),
        ([float("nan"), None, 3.0, float("inf")], pl.Float64, [None, None, "3", None]),
        (["nan", "NaN", "None", "", " ", "u", " u "], pl.String, [None, None, None, None, None, "u", "u"]),
        ([str(1 << 70), "00012"], pl.String, [str(1 << 70), "00012"]),
    ],
)  # fmt: skip
def test_text_of_ids(values: list[Any], dtype: Any, expected: list[str | None]) -> None:
    assert ids(values, dtype) == expected
    if dtype in (pl.String, pl.Float64, pl.Int64):
        assert [id_text(value) for value in values] == expected


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (float(BIG), pl.Float64),
        (-1e18, pl.Float64),
        (16_777_216.0, pl.Float32),
        (f"{BIG}.0", pl.String),
        ("1.23457E+12", pl.String),
        ("1e+16", pl.String),
    ],
)
def test_floats_that_lost_digits_are_refused(value: Any, dtype: Any) -> None:
    small = "1" if dtype == pl.String else 1.0
    with pytest.raises(DataError, match=r"column 'user', row 3: the id .* written as a float"):
        ids([small, value], dtype)
    if dtype != pl.Float32:
        with pytest.raises(ValueError, match="lost digits"):
            id_text(value)


def test_json_ids_are_exact_beside_any_neighbour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    neighbours = [BIG - 1, 5.0, "u", 1 << 64, (1 << 64) + 1, 12]
    expected = sorted([str(BIG - 1), "5", "u", str(1 << 64), str((1 << 64) + 1), "12", str(BIG)])
    for lines in (200_000, 1, 2):
        monkeypatch.setattr(_json_lines, "LINES_PER_FRAME", lines)
        assert sorted(json_users(tmp_path, *neighbours, BIG)) == expected
        assert sorted(json_users(tmp_path, BIG, BIG - 1, 5.0)) == sorted([str(BIG), str(BIG - 1), "5"])
    with pytest.raises(DataError, match=r"log\.jsonl, column 'user_id', row 2: the id .* written as a float"):
        json_users(tmp_path, BIG, 1e16)


def test_formats_give_the_same_ids(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user_id,item_id\n1.0,a\n2,a\n007,a\n")
    pl.DataFrame({"user_id": [1, 2], "item_id": ["a", "a"]}).write_parquet(tmp_path / "log.parquet")
    assert users(tmp_path, "log.csv") == ["007", "1", "2"]
    assert users(tmp_path, "log.parquet") == ["1", "2"] == json_users(tmp_path, 1.0, 2)


def test_parquet_floats_without_their_digits_are_refused(tmp_path: Path) -> None:
    pl.DataFrame({"user_id": [1.0, float(BIG)], "item_id": ["a", "b"]}).write_parquet(tmp_path / "log.parquet")
    with pytest.raises(DataError, match=r"log\.parquet, column 'user_id', row 2.*whole numbers or as text"):
        users(tmp_path, "log.parquet")


def test_control_characters_and_missing_ids_are_rejects(tmp_path: Path) -> None:
    values = ["u", "u\n1", "u\x001", "u\u20281", "nan", "NaN", "u\n", "\x1b[31mu"]
    pl.DataFrame({"user_id": values, "item_id": ["a"] * 8}).write_parquet(tmp_path / "log.parquet")
    config = DataConfig(options={"interactions": "log.parquet"}, max_reject_share=1)
    loaded = load_data(config, tmp_path, Silent())
    assert loaded.interactions.frame["user_id"].to_list() == ["u"]
    reasons = loaded.rejects.sort("row")["reason"].to_list()
    assert [reason.split()[0] for reason in reasons] == ["contains"] * 3 + ["missing"] * 2 + ["contains"] * 2
    (tmp_path / "log.csv").write_text('user_id,item_id\n"u\n1",a\nv,b\n')
    loaded = load_data(DataConfig(options={"interactions": "log.csv"}, max_reject_share=1), tmp_path, Silent())
    assert loaded.rejects["reason"].to_list() == ["contains a line break, another control character or a damaged one"]


def test_invalid_text_in_parquet_is_one_sentence(tmp_path: Path) -> None:
    bad = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff\xfe"]).buffers())
    pq.write_table(pa.table({"user_id": bad, "item_id": pa.array(["a"])}), tmp_path / "log.parquet")
    with pytest.raises(DataError, match=r"log\.parquet cannot be read"):
        users(tmp_path, "log.parquet")


def test_half_characters_in_json_are_rejects(tmp_path: Path) -> None:
    lines = ['{"user_id": "u\\ud800", "item_id": "a"}', '{"user_id": "v", "item_id": "a"}']
    (tmp_path / "log.jsonl").write_text("\n".join([*lines, "{'user_id': '\\ud800', 'item_id': 'a'}"]) + "\n")
    assert users(tmp_path, "log.jsonl") == ["v"]


def test_half_characters_of_a_title_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text("user_id,item_id\nu,a\n")
    (tmp_path / "items.jsonl").write_text(
        '{"item_id": "a", "title": "Film \\ud83d", "tags": ["x\\ud83d", "\\ud83d\\ude00"]}'
    )
    items = load_data(DataConfig(options={"items": "items.jsonl"}), tmp_path, Silent()).items.frame
    assert items.row(0, named=True) == {
        "item_id": "a",
        "title": "Film \ufffd",
        "text": "Film \ufffd. tags: x\ufffd, 😀",
        "tags": ["x\ufffd", "😀"],
    }


def test_items_that_match_no_event_are_refused_with_both_samples(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text("user_id,item_id\nu,tt1\nv,tt2\n")
    (tmp_path / "items.csv").write_text("item_id,title\n1,One\n2,Two\n")
    for more in ({}, {"keep_unseen_items": True}):
        config = DataConfig.model_validate({"options": {"items": "items.csv"}, **more})
        with pytest.raises(DataError, match=r"none of the 2 items.*'1', '2'.*'tt1', 'tt2'"):
            load_data(config, tmp_path, Silent())
        assert find_problems(config, tmp_path)[0].severity == "error"


def test_codes_with_many_digits_stay_text(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text("user_id,item_id\nu,a\nv,b\n")
    items = pl.DataFrame({"item_id": ["a", "b"], "code": [(1 << 64) - 1, 2]}, schema_overrides={"code": pl.UInt64})
    items.write_parquet(tmp_path / "items.parquet")
    loaded = load_data(DataConfig(options={"items": "items.parquet"}), tmp_path, Silent())
    assert loaded.items.frame["code"].to_list() == ["18446744073709551615", "2"]
    (tmp_path / "items.csv").write_text("item_id,code\na,18446744073709551615\nb,2\n")
    loaded = load_data(DataConfig(options={"items": "items.csv"}), tmp_path, Silent())
    assert loaded.items.frame["code"].to_list() == ["18446744073709551615", "2"]
