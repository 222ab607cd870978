"""Layouts beyond the contract's samples, and faults in them."""

import json
from pathlib import Path
from typing import Any

import pytest

from retort.offline.common.progress import Silent
from retort.offline.data.load import DataConfig, load_data
from retort.offline.data.public_datasets import CATALOGUE
from retort.offline.data.sources import _json_lines
from retort.offline.data.sources._files import find_file
from retort.offline.data.sources.movielens import GENRES_100K
from retort.offline.data.tables import Loaded
from retort.shared.base.errors import DataError
from tests.offline.data.sources._samples import json_lines, lines, write_recbole


def loaded(source: str, root: Path, **options: Any) -> Loaded:
    return load_data(DataConfig(source=source, options=options, max_reject_share=0.5), root, Silent())


def test_movielens_100k(tmp_path: Path) -> None:
    flags = "|".join("1" if genre in ("Comedy", "War") else "0" for genre in GENRES_100K)
    lines(tmp_path / "ml-100k" / "u.data", "1\t7\t3\t881250949", "1\t8\t5\t881250950")
    lines(
        tmp_path / "ml-100k" / "u.item",
        f"7|Misérables, Les (1995)|01-Jan-1995||http://x|{flags}",
        f"8|B|01-Jan-1995||http://x|{flags}",
        encoding="latin-1",
    )
    lines(tmp_path / "ml-100k" / "u.user", "1|24|M|technician|85711")
    one = loaded("movielens", tmp_path)
    assert one.items.frame.row(0, named=True) == {
        "item_id": "7",
        "title": "Misérables, Les (1995)",
        "text": "Misérables, Les (1995). genres: Comedy, War. year: 1995",
        "genres": ["Comedy", "War"],
        "year": 1995,
    }
    assert one.interactions.frame["weight"].to_list() == [3.0, 5.0]
    assert one.users is not None
    assert one.users["age"].to_list() == [24]
    assert one.report.first == "1997-12-04T15:55:49+00:00"


def test_movielens_csv(tmp_path: Path) -> None:
    lines(tmp_path / "ratings.csv", "userId,movieId,rating,timestamp", "1,7,3.5,1147880044", "1,8,5.0,1147880045")
    lines(
        tmp_path / "movies.csv",
        "movieId,title,genres",
        '7,"Postman, The (1994)",Comedy|Drama',
        "8,B,(no genres listed)",
    )
    one = loaded("movielens", tmp_path)
    assert one.items.frame["title"].to_list() == ["Postman, The (1994)", "B"]
    assert one.items.frame["genres"].to_list() == [["Comedy", "Drama"], None]
    assert one.items.frame["year"].to_list() == [1994, None]
    assert one.users is None


def test_amazon_2014_with_metadata_as_python_literals(tmp_path: Path) -> None:
    review = {"reviewerID": "A1", "asin": "B1", "overall": 5.0, "unixReviewTime": 1_369_699_200}
    json_lines(tmp_path / "reviews_Beauty_5.json.gz", review)
    (tmp_path / "meta_Beauty.json").write_text(
        "{'asin': 'B1', 'title': \"L'eau\", 'categories': [['Beauty'], ['Beauty', 'Skin', 'Face']], 'price': 8.26}\n"
        "rubbish\n"
    )
    one = loaded("amazon", tmp_path)
    assert one.items.frame.row(0, named=True) == {
        "item_id": "B1",
        "title": "L'eau",
        "text": "L'eau. price: 8.26. categories: Beauty, Skin, Face",
        "brand": None,
        "price": 8.26,
        "categories": ["Beauty", "Skin", "Face"],
        "description": None,
    }
    assert one.rejects.rows() == [("meta_Beauty.json", 2, "", "rubbish\n", "not a JSON object")]


def test_amazon_2023(tmp_path: Path) -> None:
    review = {"user_id": "U", "asin": "X", "parent_asin": "P", "rating": 4.0, "timestamp": 1_588_687_728_923}
    json_lines(tmp_path / "All_Beauty.jsonl.gz", review)
    json_lines(
        tmp_path / "meta_All_Beauty.jsonl.gz",
        {"parent_asin": "P", "title": "T", "store": "S", "categories": [], "price": None, "description": ["a", "b"]},
    )
    one = loaded("amazon", tmp_path)
    assert one.interactions.frame.rows() == [("U", "P", 1_588_687_728_923, 4.0)]
    assert one.items.frame["text"].to_list() == ["T. brand: S. description: a b"]


def test_amazon_with_two_files_of_reviews_asks_which(tmp_path: Path) -> None:
    for name in ("A.json", "B.json"):
        json_lines(tmp_path / name, {"reviewerID": "A1"})
    with pytest.raises(DataError, match=r"A\.json, B\.json; name it in \[data\.options\] reviews"):
        loaded("amazon", tmp_path)


def test_cut_off_gzip_ends_in_one_sentence(tmp_path: Path) -> None:
    review = {"reviewerID": "A1", "asin": "B1", "overall": 5.0, "unixReviewTime": 1_369_699_200}
    path = tmp_path / "reviews.json.gz"
    json_lines(path, *({**review, "asin": str(at)} for at in range(2000)))
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DataError, match=r"reviews\.json\.gz is not a complete gzip file.*again"):
        loaded("amazon", tmp_path)


def test_amazon_m2_rejects_unreadable_sessions(tmp_path: Path) -> None:
    lines(
        tmp_path / "sessions_train.csv",
        "prev_items,next_item,locale",
        "\"['a' 'b'\n 'c']\",d,UK",
        "?,e,UK",
        "['f'],,UK",
    )
    one = loaded("amazon_m2", tmp_path)
    assert one.interactions.frame.select("user_id", "item_id", "timestamp").rows() == [
        ("UK-2", "a", 0),
        ("UK-2", "b", 1),
        ("UK-2", "c", 2),
        ("UK-2", "d", 3),
        ("UK-3", "e", 1),
        ("UK-4", "f", 0),
    ]
    assert one.rejects.select("row", "column", "reason").rows() == [
        (3, "prev_items, next_item", "missing"),
        (4, "prev_items, next_item", "missing"),
    ]


def test_recbole_without_types_is_refused(tmp_path: Path) -> None:
    write_recbole(tmp_path)
    lines(tmp_path / "toy.inter", "user_id\titem_id:token", "u\ti")
    with pytest.raises(DataError, match=r"toy\.inter, row 1: the field 'user_id' is not `name:type`"):
        loaded("recbole", tmp_path)


def test_header_with_a_column_twice_is_refused(tmp_path: Path) -> None:
    lines(tmp_path / "interactions.csv", "user_id,item_id,user_id", "u,i,v")
    with pytest.raises(DataError, match=r"interactions\.csv, row 1: column 'user_id' appears twice"):
        loaded("table", tmp_path)


def test_table_kinds_agree(tmp_path: Path) -> None:
    rows = [{"user_id": "u", "item_id": item, "ts": 1_600_000_000 + at} for at, item in enumerate("abc")]
    lines(tmp_path / "log.tsv", "user_id\titem_id\tts", *("\t".join(map(str, row.values())) for row in rows))
    lines(tmp_path / "log.jsonl", *(json.dumps(row) for row in rows))
    json_lines(tmp_path / "log.jsonl.gz", *rows)
    hashes = {
        loaded("table", tmp_path, interactions=name, timestamp="ts").report.data_hash
        for name in ("log.tsv", "log.jsonl", "log.jsonl.gz")
    }
    assert len(hashes) == 1


def test_text_of_another_encoding_names_its_row(tmp_path: Path) -> None:
    lines(tmp_path / "interactions.csv", "user_id;item_id", "u;a", "u;é", encoding="latin-1")
    with pytest.raises(DataError, match=r"interactions\.csv, row 3: the bytes b'\\xe9' are not utf-8 text.*encoding"):
        loaded("table", tmp_path, separator=";")
    one = loaded("table", tmp_path, separator=";", encoding="latin-1")
    assert one.interactions.frame["item_id"].to_list() == ["a", "é"]
    with pytest.raises(DataError, match=r"encoding .klingon. .*is unknown"):
        loaded("table", tmp_path, separator=";", encoding="klingon")


def test_recbole_users_take_flags_from_another_table(tmp_path: Path) -> None:
    write_recbole(tmp_path)
    json_lines(tmp_path / "profiles.jsonl", {"user_id": "ann", "profile": "likes a", "clean": True}, {"user_id": "x"})
    one = loaded("recbole", tmp_path, users="profiles.jsonl", users_columns=["clean"])
    assert one.users is not None
    assert one.users.rows(named=True) == [
        {"user_id": "ann", "age": 20, "clean": True},
        {"user_id": "ben", "age": 30, "clean": None},
    ]
    assert one.report.users_without_history == 1


def test_a_whole_path_is_found_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "reviews.jsonl").write_text("{}")
    whole = str(tmp_path / "reviews.jsonl")
    assert find_file(tmp_path / ".", whole) == Path(whole)
    with pytest.raises(DataError, match=r"none of: .*other\.jsonl"):
        find_file(tmp_path, str(tmp_path / "other.jsonl"))


def test_ids_of_64_bits_stay_apart_across_chunks_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later chunk with an id beyond 2^63 must not make floats of all: those count whole numbers to 2^53 only."""
    monkeypatch.setattr(_json_lines, "LINES_PER_FRAME", 2)
    ids = [2**60 + 1, 2**60 + 2, 2**63 + 1, 2**63 + 3]
    rows = [json.dumps({"user_id": one, "item_id": "a", "t": 1_600_000_000}) for one in ids]
    lines(tmp_path / "events.jsonl", *rows)
    one = loaded("table", tmp_path, interactions="events.jsonl", timestamp="t")
    assert sorted(one.interactions.frame["user_id"]) == sorted(map(str, ids))


def write_split(root: Path, *fields: str) -> None:
    for part, rows in {"train": ["u\ta", "u\tb"], "valid": ["u\tc"], "test": ["u\td"]}.items():
        lines(root / f"x.{part}.inter", "\t".join(("user_id:token", "item_id:token", *fields)), *rows)


def test_several_recbole_logs_are_named_not_chosen(tmp_path: Path) -> None:
    write_split(tmp_path)
    with pytest.raises(DataError, match=r"x\.test\.inter, x\.train\.inter, x\.valid\.inter; name the right one"):
        loaded("recbole", tmp_path)
    parts = ["x.train.inter", "x.valid.inter", "x.test.inter"]
    assert loaded("recbole", tmp_path, interactions=parts).interactions.frame["item_id"].to_list() == list("abcd")
    assert loaded("recbole", tmp_path, interactions="x.test.inter").interactions.frame["item_id"].to_list() == ["d"]
    lines(tmp_path / "x.item", "item_id:token\ttitle:token_seq", "a\tAlpha")
    lines(tmp_path / "y.item", "item_id:token\ttitle:token_seq", "a\tOther")
    assert loaded("recbole", tmp_path, interactions=parts).items.frame["title"][0] == "Alpha"
    (tmp_path / "x.item").rename(tmp_path / "z.item")
    with pytest.raises(DataError, match=r"y\.item, z\.item"):
        loaded("recbole", tmp_path, interactions=parts)


def test_recbole_sequences_are_no_events(tmp_path: Path) -> None:
    lines(tmp_path / "x.inter", "user_id:token\titem_id_list:token_seq\titem_id:token", "u\ta b\tc")
    with pytest.raises(DataError, match=r"x\.inter contains sequences \(item_id_list:token_seq\)"):
        loaded("recbole", tmp_path)
    lines(tmp_path / "x.inter", "user_id:token\titem_id:token_seq", "u\ta b c")
    with pytest.raises(DataError, match=r"x\.inter contains sequences \(item_id:token_seq\)"):
        loaded("recbole", tmp_path)


def test_several_files_of_other_layouts_are_named(tmp_path: Path) -> None:
    json_lines(tmp_path / "reviews_Beauty.json", {"reviewerID": "u", "asin": "a", "overall": 5, "unixReviewTime": 1e9})
    for name in ("meta_Beauty.json", "meta_Toys.json"):
        json_lines(tmp_path / name, {"asin": "a", "title": name})
    with pytest.raises(DataError, match=r"meta_Beauty\.json, meta_Toys\.json"):
        loaded("amazon", tmp_path)
    assert loaded("amazon", tmp_path, meta="meta_Toys.json").items.frame["title"][0] == "meta_Toys.json"
    for folder in ("one", "two"):
        lines(tmp_path / folder / "ratings.csv", "userId,movieId,rating,timestamp", "1,7,3.5,1147880044")
    with pytest.raises(DataError, match=r"one/ratings\.csv, two/ratings\.csv"):
        loaded("movielens", tmp_path)


def test_amazon_says_which_reviews_it_reads(tmp_path: Path) -> None:
    said: list[str] = []

    class Spoken(Silent):
        def say(self, message: str) -> None:
            said.append(message)

    for name in ("reviews_Beauty_5.json.gz", "reviews_Beauty.json.gz"):
        row = {"reviewerID": "u", "asin": "a", "overall": 5, "unixReviewTime": 1_500_000_000}
        json_lines(tmp_path / name, row)
        load_data(DataConfig(source="amazon", options={"reviews": name}), tmp_path, Spoken())
    assert "only the 5-core" in said[0]
    assert any("reviews_Beauty.json.gz (all reviews)" in line for line in said)
    beauty = {download.name for download in CATALOGUE["amazon-beauty-2014-all"]}
    assert beauty == {"reviews_Beauty.json.gz", "meta_Beauty.json.gz"}
    assert {"amazon-games-2014-all", "amazon-cds-2014-all", "amazon-toys-2014-all"} <= set(CATALOGUE)
