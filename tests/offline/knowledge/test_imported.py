"""Imported item knowledge: files of every kind, unusable rows, other items, and the texts that name it."""

import json
from pathlib import Path

import polars as pl
import pytest

from retort.offline.common.progress import Silent
from retort.offline.data.interactions import Items
from retort.offline.knowledge.config import KnowledgeConfig
from retort.offline.knowledge.imported import read_knowledge
from retort.offline.knowledge.items import with_knowledge
from retort.shared.base.errors import DataError, KnowledgeError

ITEMS = Items(
    pl.DataFrame(
        {
            "item_id": ["1", "2", "3"],
            "title": ["A", "B", "C"],
            "text": ["A. brand: x", "B", "C"],
            "brand": ["x", None, None],
        }
    )
)
ROWS = [{"item_id": 1, "knowledge": "glitter  nail lacquer"}, {"item_id": "2", "knowledge": "bath bomb, relaxing"}]


def _jsonl(path: Path, rows: list[object]) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def _config(path: Path, **keys: object) -> KnowledgeConfig:
    return KnowledgeConfig.model_validate({"backend": "file", "path": path, **keys})


def test_texts_are_joined_by_item_id_and_cleaned(tmp_path: Path) -> None:
    known, report = read_knowledge(_config(_jsonl(tmp_path / "k.jsonl", [*ROWS])), ITEMS, Silent())
    assert known.rows() == [
        ("1", "glitter nail lacquer", "k.jsonl", None, None),
        ("2", "bath bomb, relaxing", "k.jsonl", None, None),
    ]
    assert (report.items, report.unknown, report.rejected) == (3, 0, 0)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tables_name_their_columns(tmp_path: Path, kind: str) -> None:
    frame = pl.DataFrame({"asin": [1, 2], "said": ["glitter", "bath bomb"]})
    path = tmp_path / f"k.{kind}"
    frame.write_csv(path) if kind == "csv" else frame.write_parquet(path)
    known, _ = read_knowledge(_config(path, id_column="asin", text_column="said"), ITEMS, Silent())
    assert known["knowledge"].to_list() == ["glitter", "bath bomb"]


@pytest.mark.parametrize("separator", [";", "|", "\t"])
def test_a_csv_with_another_separator_is_read(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "k.csv"
    pl.DataFrame({"item_id": [1, 2], "knowledge": ["glitter, lacquer", "bath bomb"]}).write_csv(
        path, separator=separator
    )
    known, report = read_knowledge(_config(path), ITEMS, Silent())
    assert known["knowledge"].to_list() == ["glitter, lacquer", "bath bomb"]
    assert report.rejected == 0


def test_the_key_text_is_read_where_there_is_no_knowledge(tmp_path: Path) -> None:
    path = _jsonl(tmp_path / "k.jsonl", [{"item_id": "1", "text": "glitter"}])
    assert read_knowledge(_config(path), ITEMS, Silent())[0].select("item_id", "knowledge").rows() == [("1", "glitter")]


def test_unusable_rows_are_reported_and_limited(tmp_path: Path) -> None:
    bad = ["{broken", {"knowledge": "of no item"}, {"item_id": "1", "knowledge": "again"}]
    path = _jsonl(tmp_path / "k.jsonl", [*ROWS, *bad, {"item_id": "9", "knowledge": "other"}, {"item_id": "3"}])
    _, report = read_knowledge(_config(path, max_reject_share=0.5), ITEMS, Silent())
    assert (report.rejected, report.not_ours, report.unknown) == (3, 1, 1)
    assert "k.jsonl, row 3: '{broken' not a JSON object" in report.line()
    with pytest.raises(KnowledgeError, match=r"3 of 7 rows are unusable.*already in an earlier row.*correct them"):
        read_knowledge(_config(path), ITEMS, Silent())


def test_unknown_is_no_text(tmp_path: Path) -> None:
    path = _jsonl(tmp_path / "k.jsonl", [*ROWS, {"item_id": "3", "knowledge": "Unknown."}])
    known, report = read_knowledge(_config(path), ITEMS, Silent())
    assert (known.height, report.unknown) == (2, 1)


def test_thoughts_are_cut_and_refusals_are_rejected(tmp_path: Path) -> None:
    thoughts = f"<think>{'The brand is known. ' * 200}</think>bath bomb"
    refused = {"item_id": "2", "knowledge": "I'm sorry, but I cannot describe this item."}
    path = _jsonl(tmp_path / "k.jsonl", [{"item_id": "1", "knowledge": thoughts}, refused])
    known, report = read_knowledge(_config(path, max_reject_share=0.5), ITEMS, Silent())
    assert known.select("item_id", "knowledge").rows() == [("1", "bath bomb")]
    assert "a refusal, or the thoughts of a model" in report.line()


def test_files_that_cannot_serve_are_refused_with_the_remedy(tmp_path: Path) -> None:
    others = _jsonl(tmp_path / "others.jsonl", [{"item_id": "x7", "knowledge": "a"}])
    with pytest.raises(
        KnowledgeError, match=r"none of the 3 items: its 1 ids are like 'x7'.*give the file that belongs"
    ):
        read_knowledge(_config(others), ITEMS, Silent())
    with pytest.raises(KnowledgeError, match=r"there is no file .*gone\.jsonl; set .knowledge. path"):
        read_knowledge(_config(tmp_path / "gone.jsonl"), ITEMS, Silent())
    _jsonl(tmp_path / "k.jsonl", ROWS[:1])
    with pytest.raises(KnowledgeError, match=r"no column 'asin'; it has: item_id, knowledge.*id_column"):
        read_knowledge(_config(tmp_path / "k.jsonl", id_column="asin"), ITEMS, Silent())
    (tmp_path / "k.xml").write_text("<a/>")
    with pytest.raises(DataError, match="unknown kind of table"):
        read_knowledge(_config(tmp_path / "k.xml"), ITEMS, Silent())


def test_sources_dates_and_fields_of_an_export_are_read_back(tmp_path: Path) -> None:
    row = {
        "item_id": "1",
        "knowledge": "glitter",
        "source": "m-7b",
        "written_at": "2026-11-01",
        "fields": {"type": ["x"]},
    }
    path = _jsonl(tmp_path / "k.jsonl", [row, {"item_id": "2", "knowledge": "bath bomb", "model": "m-8b"}])
    known, _ = read_knowledge(_config(path), ITEMS, Silent())
    assert known["source"].to_list() == ["m-7b", "m-8b"]
    assert known["written_at"].to_list() == ["2026-11-01", None]
    assert [None if each is None else json.loads(each) for each in known["fields"]] == [{"type": ["x"]}, None]


def test_fields_of_any_form_are_lists_of_phrases(tmp_path: Path) -> None:
    rows = [
        {
            "item_id": "1",
            "knowledge": "glitter",
            "fields": {"type": "polish", "rivals": None, "next": ["top coat", ""]},
        },
        {"item_id": "2", "knowledge": "bath bomb", "fields": "no json"},
        {"item_id": "3", "knowledge": "soap", "fields": [1]},
    ]
    known, _ = read_knowledge(_config(_jsonl(tmp_path / "k.jsonl", [*rows])), ITEMS, Silent())
    assert known["fields"].to_list() == ['{"type":["polish"],"next":["top coat"]}', None, None]
    frame = pl.DataFrame({"item_id": ["1"], "knowledge": ["glitter"], "fields": [{"type": ["x"], "rivals": None}]})
    frame.write_parquet(tmp_path / "k.parquet")
    known, _ = read_knowledge(_config(tmp_path / "k.parquet"), ITEMS, Silent())
    assert with_knowledge(ITEMS, known, None, None, ["type", "rivals"]).frame["knowledge_type"].to_list()[0] == ["x"]


def test_facets_of_fields_become_attributes(tmp_path: Path) -> None:
    rows = [
        {"item_id": "1", "knowledge": "glitter", "fields": {"type": ["Nail Polish"], "rivals": ["OPI", "Essie"]}},
        {"item_id": "2", "knowledge": "bath bomb"},
    ]
    known, _ = read_knowledge(_config(_jsonl(tmp_path / "k.jsonl", [*rows])), ITEMS, Silent())
    items = with_knowledge(ITEMS, known, None, None, ["type", "rivals"])
    assert items.attributes == ["brand", "knowledge_type", "knowledge_rivals"]
    assert items.frame["knowledge_type"].to_list() == [["nail polish"], None, None]
    assert items.frame["knowledge_rivals"].to_list() == [["opi", "essie"], None, None]


def test_items_gain_a_nullable_column_and_keep_their_texts() -> None:
    known = pl.DataFrame({"item_id": ["1"], "knowledge": ["glitter"]})
    items = with_knowledge(ITEMS, known, None, None)
    assert items.knowledge.to_list() == ["glitter", None, None]
    assert items.frame["text"].to_list() == ITEMS.frame["text"].to_list()
    assert items.attributes == ["brand"]
    assert ITEMS.knowledge.to_list() == [None] * 3


def test_a_template_that_names_knowledge_makes_the_texts_again() -> None:
    known = pl.DataFrame({"item_id": ["1", "3"], "knowledge": ["glitter", "soap"]})
    items = with_knowledge(ITEMS, known, None, "{title}. {knowledge}")
    assert items.frame["text"].to_list() == ["A. glitter", "B.", "C. soap"]


def test_the_items_own_column_fills_where_the_file_says_nothing() -> None:
    own = Items(ITEMS.frame.with_columns(pl.Series("knowledge", ["own 1", "own 2", None])))
    known = pl.DataFrame({"item_id": ["1"], "knowledge": ["from the file"]})
    assert with_knowledge(own, known, None, None).knowledge.to_list() == ["from the file", "own 2", None]
