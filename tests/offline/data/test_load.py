"""Data loading as a whole: filters, report, hash, files; every mistake ends in one sentence."""

from datetime import date
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from retort.offline.common.progress import Silent
from retort.offline.data.load import DataConfig, load_data
from retort.offline.data.tables import Loaded, load_saved, save_loaded
from retort.offline.recipes.recipe import load_recipe
from retort.shared.base.errors import DataError, RecipeError

EVENTS = ["u,a,1,5", "u,b,2,3", "u,b,2,3", "v,a,1,1", "v,b,2,", "u,a,3,4"]
ITEMS = ["a,Alpha,1999,x|y", "b,Beta,,", "z,Zeta,2001,y"]
OPTIONS: dict[str, Any] = {
    "items": "items.csv",
    "position": "at",
    "weight": "stars",
    "lists": {"kinds": "|"},
}


def write(root: Path, events: list[str] = EVENTS, items: list[str] = ITEMS) -> None:
    (root / "interactions.csv").write_text("\n".join(["user_id,item_id,at,stars", *events]) + "\n")
    (root / "items.csv").write_text("\n".join(["item_id,title,year,kinds", *items]) + "\n")


def loaded(root: Path, **config: Any) -> Loaded:
    return load_data(DataConfig.model_validate({"options": OPTIONS, **config}), root, Silent())


def pairs(one: Loaded) -> list[tuple[str, str, int]]:
    return one.interactions.frame.select("user_id", "item_id", "timestamp").rows()


def test_items_are_typed_and_cover_the_events(tmp_path: Path) -> None:
    write(tmp_path, [*EVENTS, "v,q,9,"])
    one = loaded(tmp_path)
    assert one.items.frame.rows(named=True) == [
        {"item_id": "a", "title": "Alpha", "text": "Alpha. year: 1999. kinds: x, y", "year": 1999, "kinds": ["x", "y"]},
        {"item_id": "b", "title": "Beta", "text": "Beta", "year": None, "kinds": None},
        {"item_id": "q", "title": "", "text": "", "year": None, "kinds": None},
    ]
    assert (one.report.items_without_metadata, one.report.items_with_text) == (1, 2)
    assert "z" in loaded(tmp_path, keep_unseen_items=True).items.frame["item_id"]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("exact", [("u", "a", 1), ("u", "b", 2), ("u", "a", 3)]),
        ("first", [("u", "a", 1), ("u", "b", 2)]),
        ("last", [("u", "b", 2), ("u", "a", 3)]),
        ("keep", [("u", "a", 1), ("u", "b", 2), ("u", "b", 2), ("u", "a", 3)]),
    ],
)
def test_repeats(policy: str, expected: list[tuple[str, str, int]], tmp_path: Path) -> None:
    write(tmp_path)
    one = loaded(tmp_path, repeats=policy)
    assert [row for row in pairs(one) if row[0] == "u"] == expected
    assert one.report.removed.repeats == 4 - len(expected)


def test_min_weight_keeps_the_unknown(tmp_path: Path) -> None:
    write(tmp_path)
    one = loaded(tmp_path, min_weight=4)
    assert pairs(one) == [("u", "a", 1), ("u", "a", 3), ("v", "b", 2)]
    assert one.report.removed.below_min_weight == 3


def test_k_core_is_repeated_until_it_holds(tmp_path: Path) -> None:
    # c falls first, which takes w below two events, which takes d below two
    write(tmp_path, ["u,a,1,", "u,b,2,", "v,a,1,", "v,b,2,", "w,c,1,", "w,d,2,", "u,d,3,"])
    one = loaded(tmp_path, k_core=2)
    assert pairs(one) == [("u", "a", 1), ("u", "b", 2), ("v", "a", 1), ("v", "b", 2)]
    removed = one.report.removed
    assert (removed.k_core, removed.k_core_users, removed.k_core_items, removed.k_core_rounds) == (3, 1, 2, 4)
    with pytest.raises(DataError, match=r"none of 7 events is left.*k_core = 9"):
        loaded(tmp_path, k_core=9)


def test_ties_keep_the_order_of_the_file(tmp_path: Path) -> None:
    write(tmp_path, ["u,b,1,", "v,a,1,", "u,a,1,", "u,c,0,"])
    assert pairs(loaded(tmp_path)) == [("u", "c", 0), ("u", "b", 1), ("u", "a", 1), ("v", "a", 1)]


def test_hash_is_of_the_content(tmp_path: Path) -> None:
    for name in ("csv", "shuffled", "parquet", "changed"):
        (tmp_path / name).mkdir()
    write(tmp_path / "csv")
    write(tmp_path / "shuffled", EVENTS[::-1], ITEMS[::-1])
    write(tmp_path / "changed", EVENTS, ["a,Alpha!,1999,x|y", *ITEMS[1:]])
    pl.read_csv(tmp_path / "csv" / "interactions.csv").write_parquet(tmp_path / "parquet" / "interactions.parquet")
    items = pl.read_csv(tmp_path / "csv" / "items.csv").with_columns(pl.col("kinds").str.split("|"))
    items.write_parquet(tmp_path / "parquet" / "items.parquet")
    parquet = {**OPTIONS, "interactions": "interactions.parquet", "items": "items.parquet"}
    hashes = {
        "csv": loaded(tmp_path / "csv").report.data_hash,
        "shuffled": loaded(tmp_path / "shuffled").report.data_hash,
        "parquet": loaded(tmp_path / "parquet", options=parquet).report.data_hash,
        "changed": loaded(tmp_path / "changed").report.data_hash,
    }
    assert hashes["csv"] == hashes["shuffled"] == hashes["parquet"] != hashes["changed"]


def test_too_many_rejects_stop_the_run(tmp_path: Path) -> None:
    write(tmp_path, [*EVENTS, ",a,1,", "w,a", "w,a,1,,,,"])
    with pytest.raises(DataError, match=r"interactions.csv: 3 of 9 rows are unusable.*max_reject_share = 0.01.*row 8"):
        loaded(tmp_path)
    one = loaded(tmp_path, max_reject_share=0.5)
    assert one.rejects.select("file", "row", "column", "reason").rows() == [
        ("interactions.csv", 8, "user_id", "missing"),
        ("interactions.csv", 9, "", "2 fields where 4 are expected"),
        ("interactions.csv", 10, "", "7 fields where 4 are expected"),
    ]
    assert one.report.rejects == {"interactions.csv": 3, "items.csv": 0}
    assert one.report.rows_read == {"interactions.csv": 9, "items.csv": 3}


def test_duplicate_items_stay_once(tmp_path: Path) -> None:
    write(tmp_path, items=[*ITEMS, ITEMS[0], "a,Another,,"])
    one = loaded(tmp_path, max_reject_share=0.5)
    assert one.items.frame["title"].to_list() == ["Alpha", "Beta"]
    assert one.report.identical_items == 1
    assert one.rejects.select("row", "value", "reason").rows() == [
        (6, "a", "the id is already in row 2, with other values")
    ]


def test_users_carry_flags_and_idle_ones_are_counted(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "users.csv").write_text("user_id,clean,zip\nv,false,01234\nu,true,99999\nidle,true,10000\n")
    one = loaded(tmp_path, options={**OPTIONS, "users": "users.csv"})
    assert one.users is not None
    assert one.users.rows() == [("u", True, "99999"), ("v", False, "01234")]
    assert one.report.users_without_history == 1
    (tmp_path / "users.csv").write_text("user_id,clean\nstranger,false\n")
    with pytest.raises(DataError, match=r"none of the 1 users.*'stranger'"):
        loaded(tmp_path, options={**OPTIONS, "users": "users.csv"})


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"options": {**OPTIONS, "item_id": "thing"}}, DataError, r"interactions.csv has no column 'thing'.*user_id"),
        ({"options": {**OPTIONS, "items": "no.csv"}}, DataError, r"there is no file .*no\.csv"),
        ({"options": {**OPTIONS, "items": "items.xls"}}, DataError, r"there is no file"),
        ({"options": {**OPTIONS, "timestamp": "at"}}, RecipeError, r"\[data.options\].*not both"),
        ({"source": "nowhere"}, RecipeError, r"'nowhere' among the sources.*table"),
        ({"text_columns": ["colour"]}, RecipeError, r"text_columns names 'colour'.*title, year, kinds"),
        ({"text_template": "{colour}"}, RecipeError, r"text_template names 'colour'"),
        ({"text_template": "{title"}, RecipeError, r"text_template"),
    ],
)
def test_mistakes_end_in_one_sentence(
    config: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    write(tmp_path)
    with pytest.raises(error, match=message):
        loaded(tmp_path, **config)


def test_header_without_rows(tmp_path: Path) -> None:
    write(tmp_path, events=[])
    with pytest.raises(DataError, match=r"interactions.csv: there are no events"):
        loaded(tmp_path)
    write(tmp_path, items=[])
    with pytest.raises(DataError, match=r"items.csv has no rows"):
        loaded(tmp_path)


def test_text_template_and_columns(tmp_path: Path) -> None:
    write(tmp_path)
    assert loaded(tmp_path, text_template="{title} ({kinds})").items.frame["text"].to_list() == [
        "Alpha (x, y)",
        "Beta ()",
    ]
    assert loaded(tmp_path, text_columns=["kinds", "title"]).items.frame["text"].to_list() == [
        "kinds: x, y. Alpha",
        "Beta",
    ]


def test_saved_data_come_back(tmp_path: Path) -> None:
    write(tmp_path, [*EVENTS, ",a,1,"])
    one = loaded(tmp_path, max_reject_share=0.5)
    save_loaded(one, tmp_path / "out")
    again = load_saved(tmp_path / "out")
    assert again.interactions.frame.equals(one.interactions.frame)
    assert again.items.frame.equals(one.items.frame)
    assert again.rejects.equals(one.rejects)
    assert again.users is None
    assert (again.report, again.interactions.clock) == (one.report, "position")
    with pytest.raises(DataError, match=r"report\.json"):
        load_saved(tmp_path)


def test_without_a_time_column_rows_are_the_order(tmp_path: Path) -> None:
    write(tmp_path)
    one = loaded(tmp_path, options={})
    assert one.interactions.clock == "position"
    assert [row[1] for row in pairs(one) if row[0] == "u"] == ["a", "b", "b", "a"]


def test_control_characters_of_titles_are_removed(tmp_path: Path) -> None:
    rows = [{"item_id": "i1", "title": "A\x00 film\x1b", "plot": "Line\nbreak\x07", "tags": ["a\x00", "b"]}]
    pl.DataFrame(rows).write_parquet(tmp_path / "items.parquet")
    pl.DataFrame({"user_id": ["u"], "item_id": ["i1"]}).write_parquet(tmp_path / "events.parquet")
    options = {"interactions": "events.parquet", "items": "items.parquet"}
    (item,) = load_data(DataConfig(options=options), tmp_path, Silent()).items.frame.to_dicts()
    assert (item["title"], item["plot"]) == ("A film", "Line\nbreak")
    assert "\x00" not in item["text"]


def test_any_number_of_duplicate_items_is_merged_and_reported(tmp_path: Path) -> None:
    write(tmp_path, items=[*ITEMS, *(f"a,Other {n},," for n in range(50))])
    one = loaded(tmp_path)
    assert one.items.frame["title"].to_list() == ["Alpha", "Beta"]
    assert one.report.rejects["items.csv"] == 50
    write(tmp_path, items=[*ITEMS, ",No id,,"])
    with pytest.raises(DataError, match=r"items\.csv: 1 of 4 rows are unusable"):
        loaded(tmp_path)


def test_html_entities_of_texts_are_read(tmp_path: Path) -> None:
    write(tmp_path, items=["a,Tom &amp; Jerry&#39;s &lt;3,1999,R&amp;B|x & y;", "b,&eacute;t&eacute; &nope; AT&T,,"])
    items = loaded(tmp_path).items.frame
    assert items["title"].to_list() == ["Tom & Jerry's <3", "été &nope; AT&T"]
    assert items["kinds"].to_list() == [["R&B", "x & y;"], None]
    listed = pl.DataFrame({"item_id": ["a", "b"], "kinds": [["R&amp;B", None], None]})
    listed.write_parquet(tmp_path / "items.parquet")
    assert loaded(tmp_path, options={**OPTIONS, "items": "items.parquet"}).items.frame["kinds"][0].to_list()[0] == "R&B"


def test_event_types_have_weights(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user_id,item_id,kind\nu,a,view\nu,b,buy\nv,a,scroll\nv,b,view\n")
    options = {"interactions": "log.csv", "event_type": "kind", "event_weights": {"view": 1, "buy": 5}}
    frame = loaded(tmp_path, options=options).interactions.frame
    assert frame.select("user_id", "item_id", "weight").rows() == [("u", "a", 1.0), ("u", "b", 5.0), ("v", "b", 1.0)]
    with pytest.raises(DataError, match=r"column 'kind': no event has a type of event_weights.*view \(2\)"):
        loaded(tmp_path, options={**options, "event_weights": {"click": 1}})
    for wrong in ({"weight": "kind"}, {"event_weights": None}, {"event_weights": {"view": 0}}):
        with pytest.raises(RecipeError, match="event_weights"):
            loaded(tmp_path, options={**options, **wrong})


def test_each_file_has_its_separator_and_encoding(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user_id,item_id\nu,a\n")
    (tmp_path / "items.csv").write_bytes("item_id;title\na;Été\n".encode("latin-1"))
    (tmp_path / "users.csv").write_text("user_id\tage\nu\t30\n")
    options = {"interactions": "log.csv", "items": "items.csv", "users": "users.csv"}
    options |= {"separator": {"items": ";", "users": "\\t"}, "encoding": {"items": "latin-1"}}
    one = loaded(tmp_path, options=options)
    assert one.items.frame["title"].to_list() == ["Été"]
    assert one.users is not None
    assert one.users["age"].to_list() == [30]
    with pytest.raises(RecipeError, match="separator"):
        loaded(tmp_path, options={**options, "separator": {"movies": ";"}})


def timed(root: Path, **config: Any) -> Loaded:
    rows = [f"u{n},i{n % 4},{2018 + n % 3}-06-01" for n in range(12)] + [f"u{n},i{n % 5},2019-01-01" for n in range(12)]
    (root / "interactions.csv").write_text("\n".join(["user_id,item_id,at", *rows]) + "\n")
    return load_data(DataConfig.model_validate({"options": {"timestamp": "at"}, **config}), root, Silent())


def test_a_period_is_kept_from_its_first_moment_to_before_its_last(tmp_path: Path) -> None:
    one = timed(tmp_path, since="2019-01-01", until=date(2020, 1, 1))
    assert (one.report.first, one.report.last) == ("2019-01-01T00:00:00+00:00", "2019-06-01T00:00:00+00:00")
    assert one.report.removed.outside_period == 8
    assert timed(tmp_path, since="2019-06-01T00:00:01+02:00").report.removed.outside_period == 16
    with pytest.raises(DataError, match="24 are outside"):
        timed(tmp_path, since="2025-01-01")
    for wrong, words in (
        ({"since": "yesterday"}, "is no date"),
        ({"since": "2020", "until": "2019-01-01"}, "no date|not after"),
    ):
        with pytest.raises(ValueError, match=words):
            DataConfig.model_validate(wrong)
    write(tmp_path)
    with pytest.raises(DataError, match="require times"):
        loaded(tmp_path, since="2019-01-01")


def test_users_are_sampled_at_random_whatever_the_order_of_rows(tmp_path: Path) -> None:
    def users(**config: Any) -> set[str]:
        return set(timed(tmp_path, **config).interactions.frame["user_id"])

    first = users(sample_users=5)
    assert len(first) == 5
    assert first == users(sample_users=5)
    assert first != users(sample_users=5, sample_seed=1)
    assert users(sample_users=50) == users()
    removed = timed(tmp_path, sample_users=5, k_core=2).report.removed
    assert removed.not_sampled > 0


def test_yelps_files_are_read_as_the_recipe_names_them(tmp_path: Path) -> None:
    config = load_recipe("llmd4rec_yelp_sasrec").data.model_copy(update={"k_core": 0})
    reviews = [
        {"review_id": "r", "user_id": f"u{n}", "business_id": f"b{n % 2}", "stars": 4.0, "text": "long", "date": when}
        for n, when in enumerate(
            ["2018-12-31 23:59:59", "2019-01-01 00:00:00", "2019-07-01 10:00:00", "2020-01-01 00:00:01"]
        )
    ]
    shops = [
        {"business_id": f"b{n}", "name": f"Shop {n}", "city": "Reno", "attributes": {"WiFi": "no"}, "hours": None,
         "categories": "Food, Coffee & Tea"}
        for n in range(2)
    ]  # fmt: skip
    for name, rows in (("review", reviews), ("business", shops)):
        lines = "\n".join(orjson.dumps(row).decode() for row in rows)
        (tmp_path / f"yelp_academic_dataset_{name}.json").write_text(lines + "\n")
    one = load_data(config, tmp_path, Silent())
    assert one.interactions.frame["user_id"].to_list() == ["u1", "u2"]
    assert one.items.frame.columns == ["item_id", "title", "text", "categories", "city"]
    assert one.items.frame.row(0)[1:] == ("Shop 0", "Food, Coffee & Tea. Reno", ["Food", "Coffee & Tea"], "Reno")
