"""Recognition of logs in many shapes, each as a file that somebody exported, and the recipe that reads it."""

import gzip
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from retort.offline.common.progress import Silent
from retort.offline.data.load import load_data
from retort.offline.quickstart.recipe_file import data_section, recipe_text
from retort.offline.quickstart.recognised import Recognised, recognise
from retort.offline.quickstart.settings_by_size import Setting, Size, choose_settings, text_rms
from retort.offline.recipes.recipe import load_recipe
from retort.shared.base.errors import DataError

Row = tuple[str, str, datetime, str]


def log(n_events: int = 600) -> list[Row]:
    """A made-up log of 60 users and 30 items in row order."""
    dice = random.Random(7)
    start = datetime(2025, 3, 1, 8, 0)
    kinds = ["view", "add_to_cart", "purchase", "remove_from_cart"]
    return [
        (f"K{dice.randint(1, 60):03}", f"A-{dice.randint(1, 30)}", start + timedelta(hours=7 * n), dice.choice(kinds))
        for n in range(n_events)
    ]


def semicolons(path: Path) -> Path:
    lines = [f"{user};{item};{at:%d.%m.%Y %H:%M};{kind}" for user, item, at, kind in log()]
    (path / "log.csv").write_text("\n".join(["Kundennr;Artikelnr;Datum;Aktion", *lines]))
    return path / "log.csv"


def milliseconds_without_header(path: Path) -> Path:
    lines = [f"{user[1:]},{item[2:]},{int(at.timestamp() * 1000)}" for user, item, at, _ in log()]
    (path / "log.csv").write_text("\n".join(lines))
    return path / "log.csv"


def parquet_with_types(path: Path) -> Path:
    rows = log()
    columns = {"visitorid": 0, "itemid": 1, "ts": 2, "event": 3}
    pl.DataFrame({name: [row[place] for row in rows] for name, place in columns.items()}).write_parquet(
        path / "log.parquet"
    )
    return path / "log.parquet"


def gzip_tabs(path: Path) -> Path:
    lines = [f"{user}\t{item}\t{int(at.timestamp())}" for user, item, at, _ in log()]
    with gzip.open(path / "log.tsv.gz", "wt") as file:
        file.write("\n".join(["userId\tproductId\ttimestamp", *lines]))
    return path / "log.tsv.gz"


def json_lines(path: Path) -> Path:
    frame = pl.DataFrame(
        {"customer": [r[0] for r in log()], "sku": [r[1] for r in log()], "at": [f"{r[2]}" for r in log()]}
    )
    frame.write_ndjson(path / "log.jsonl")
    return path / "log.jsonl"


def recbole(path: Path) -> Path:
    lines = [f"{user}\t{item}\t{int(at.timestamp())}" for user, item, at, _ in log()]
    (path / "log.inter").write_text("\n".join(["user_id:token\titem_id:token\ttimestamp:float", *lines]))
    return path / "log.inter"


def loaded_by_recipe(found: Recognised, path: Path) -> pl.DataFrame:
    """The interactions that the written recipe reads."""
    text = recipe_text(
        found, data_section(found), [Setting("data.max_user_events", 900, "a reason")], "retort quickstart"
    )
    (path / "shop.toml").write_text(text, encoding="utf-8")
    recipe = load_recipe(str(path / "shop.toml"))
    assert recipe.data.max_user_events == 900
    return load_data(recipe.data, path, Silent()).interactions.frame


@pytest.mark.parametrize(
    ("write", "columns"),
    [
        (semicolons, ("Kundennr", "Artikelnr", "Datum")),
        (milliseconds_without_header, ("column_1", "column_2", "column_3")),
        (parquet_with_types, ("visitorid", "itemid", "ts")),
        (gzip_tabs, ("userId", "productId", "timestamp")),
        (json_lines, ("customer", "sku", "at")),
        (recbole, ("user_id:token", "item_id:token", "timestamp:float")),
    ],
)
def test_logs_of_many_shapes_are_read_as_the_same_histories(
    write: Callable[[Path], Path], columns: tuple[str, str, str], tmp_path: Path
) -> None:
    found = recognise(write(tmp_path), None)
    assert found.columns.time is not None
    assert (found.columns.user.column, found.columns.item.column, found.columns.time.column) == columns
    frame = loaded_by_recipe(found, tmp_path)
    rows = log()
    if found.weights:
        rows = [row for row in rows if row[3] != "remove_from_cart"]
    assert frame.height == len(rows)
    first = next(row for row in rows if row[0].endswith(str(frame["user_id"][0])))
    assert (str(frame["item_id"][0]) in first[1], frame["user_id"].n_unique()) == (True, 60)


def test_purchases_weigh_more_and_removals_are_left_out(tmp_path: Path) -> None:
    found = recognise(parquet_with_types(tmp_path), None)
    assert found.weights == {"view": 1.0, "add_to_cart": 3.0, "purchase": 5.0}
    assert found.left_out == ("remove_from_cart",)
    assert set(loaded_by_recipe(found, tmp_path)["weight"]) == {1.0, 3.0, 5.0}


def test_cyrillic_titles_in_an_old_encoding_are_read(tmp_path: Path) -> None:
    lines = [f"{user};{item};{at.isoformat()}" for user, item, at, _ in log()]
    (tmp_path / "log.csv").write_text("\n".join(["пользователь;товар;время", *lines]), encoding="cp1251")
    titles = [
        f"A-{n};Война и мир, издание {n};{'драма|история' if n % 2 else 'комедия|семейный'}" for n in range(1, 31)
    ]
    (tmp_path / "items.csv").write_text("\n".join(["код;название;жанр", *titles]), encoding="cp1251")
    found = recognise(tmp_path / "log.csv", tmp_path / "items.csv")
    assert found.item_columns is not None
    assert (found.item_columns.item, found.item_columns.title, found.item_columns.attributes) == (
        "код",
        "название",
        ("жанр",),
    )
    loaded_by_recipe(found, tmp_path)
    items = load_data(load_recipe(str(tmp_path / "shop.toml")).data, tmp_path, Silent()).items.frame
    assert items.filter(item_id="A-7")["title"][0] == "Война и мир, издание 7"
    assert items.filter(item_id="A-7")["жанр"][0].to_list() == ["драма", "история"]


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "Unnamed: 0.1", "index", "rank", "_c0"])
def test_row_numbers_are_not_taken_for_the_ids_that_they_meet(name: str, tmp_path: Path) -> None:
    """All items of the log are among the ids 1 to 100 and among the row numbers 0 to 99."""
    events = [f"u{at // 6},{1 + at * 7 % 79},{1_600_000_000 + at}" for at in range(360)]
    (tmp_path / "log.csv").write_text("\n".join(["user_id,item_id,timestamp", *events]))
    rows = [f"{at},{at + 1},The title of {at + 1}" for at in range(100)]
    for column in ("item_id", "movieId", "sku"):
        (tmp_path / "items.csv").write_text("\n".join([f"{name},{column},title", *rows]))
        found = recognise(tmp_path / "log.csv", tmp_path / "items.csv")
        assert found.item_columns is not None
        assert found.item_columns.item == column


def test_a_log_with_few_letters_has_the_encoding_of_its_header(tmp_path: Path) -> None:
    lines = [f"п{n % 40};К-{n % 30};2025-01-{n % 28 + 1:02}T10:00:00" for n in range(600)]
    for encoding in ("cp1251", "koi8-r"):
        (tmp_path / "log.csv").write_text("\n".join(["пользователь;товар;время", *lines]), encoding=encoding)
        found = recognise(tmp_path / "log.csv", None)
        assert found.events.encoding == encoding
        assert found.events.frame["пользователь"][1] == "п1"


def test_the_titles_tell_the_encoding_of_a_log_without_header(tmp_path: Path) -> None:
    lines = [f"п{n % 40};К-{n % 30};2025-01-{n % 28 + 1:02}T10:00:00" for n in range(600)]
    (tmp_path / "log.csv").write_text("\n".join(lines), encoding="cp1251")
    titles = [f"К-{n};Пластинка номер {n};джаз" for n in range(30)]
    (tmp_path / "items.csv").write_text("\n".join(["id;title;genre", *titles]), encoding="cp1251")
    found = recognise(tmp_path / "log.csv", tmp_path / "items.csv")
    assert (found.events.encoding, found.columns.item.column) == ("cp1251", "column_2")


def test_numbers_of_users_are_not_taken_for_items_where_both_are_in_the_items_table(tmp_path: Path) -> None:
    lines = [f"{user[1:].lstrip('0')},{item[2:]},{n % 5 + 1}" for n, (user, item, _, _) in enumerate(log())]
    (tmp_path / "log.csv").write_text("\n".join(lines))
    (tmp_path / "items.csv").write_text("\n".join(["id,title", *(f"{n},Thing number {n}" for n in range(1, 80))]))
    found = recognise(tmp_path / "log.csv", tmp_path / "items.csv")
    assert (found.columns.user.column, found.columns.item.column) == ("column_1", "column_2")


def test_american_dates_are_told_from_european_ones_by_their_days(tmp_path: Path) -> None:
    rows = log()
    (tmp_path / "us.csv").write_text("\n".join(["user,item,date", *(f"{u},{i},{at:%m/%d/%Y}" for u, i, at, _ in rows)]))
    found = recognise(tmp_path / "us.csv", None)
    assert found.columns.moment is not None
    assert found.columns.moment.format == "%m/%d/%Y"
    early = [row for row in rows if row[2].day <= 12]
    (tmp_path / "both.csv").write_text(
        "\n".join(["user,item,date", *(f"{u},{i},{at:%m/%d/%Y}" for u, i, at, _ in early)])
    )
    moment = recognise(tmp_path / "both.csv", None).columns.moment
    assert moment is not None
    assert not moment.sure
    assert "fits as well" in moment.note


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("log.csv", "one column\nonly\nwords\n", "no separator"),
        ("log.csv", "when,price\n2025-01-01,3.5\n2025-01-02,4.5\n", "--user and --item"),
        ("log.xlsx", "PK", "spreadsheet"),
        ("log.csv", "a,b\0c\n", "not text"),
        ("log.csv", "", "empty"),
    ],
)
def test_files_that_are_no_log_are_refused_with_a_remedy(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        recognise(tmp_path / name, None)


def test_named_columns_win_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    path = semicolons(tmp_path)
    found = recognise(path, None, {"user": "Artikelnr", "item": "Kundennr"})
    assert (found.columns.user.column, found.columns.item.column) == ("Artikelnr", "Kundennr")
    with pytest.raises(DataError, match="has no column 'kunde'"):
        recognise(path, None, {"user": "kunde"})


def test_texts_that_take_too_long_are_counted_by_words() -> None:
    small = {one.key: one.value for one in choose_settings(Size(9_000, 500, 300, 40), 5, texts=True)}
    large = {one.key: one.value for one in choose_settings(Size(9_000_000, 90_000, 300_000, 400), 5, texts=True)}
    assert (small["encoder.model"], large["encoder.model"]) == ("packaged-minilm", "tfidf")
    assert (small["student.max_length"], large["student.max_length"]) == (50, 200)
    assert (small["objectives.0.rms"], large["objectives.0.rms"]) == (0.05, 0.05)
    assert text_rms(Size(900, 500, 300, 4)).value == 0.15
    alone = {one.key for one in choose_settings(Size(9_000, 500, 300, 40), 5, texts=False)}
    assert "encoder.model" not in alone


def test_json_lines_are_recognised_from_their_head(tmp_path: Path) -> None:
    path = json_lines(tmp_path)
    with path.open("a") as file:
        file.writelines(['{"customer": "late", "sku": "A-1", "at": "2025-01-01"}\n'] * 6_000)
    frame = recognise(path, None).events.frame
    assert frame.height == 5_000
    assert frame["customer"].to_list()[:600] == [row[0] for row in log()]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("log.csv", b"PK\x03\x04 zipped", "zip archive or a spreadsheet"),
        ("log.csv", b"\x1f\x8b\x08\x00", r"rename it to log\.csv\.gz"),
        ("log.json", b' [{"user": 1, "item": 2}]', "one JSON array.*jq"),
        ("log.csv", b"user_id,item_id\nu1,i1\nu1,i2\nu1,i3\n", "column 'user_id' has the same user in all"),
        ("log.csv", b"user_id,item_id\nu1,i1\nu2,i1\nu3,i1\n", "column 'item_id' has the same item in all"),
    ],
)
def test_what_is_no_table_names_its_remedy(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        recognise(tmp_path / name, None)


def test_a_wrong_path_names_the_files_that_are_there(tmp_path: Path) -> None:
    semicolons(tmp_path)
    with pytest.raises(DataError, match=r"correct the path: there is log\.csv\."):
        recognise(tmp_path / "logs.csv", None)
    with pytest.raises(DataError, match=r"is a directory; name the file with the events in it \(there: log\.csv\)"):
        recognise(tmp_path, None)
    with pytest.raises(DataError, match="there is no directory"):
        recognise(tmp_path / "nowhere" / "log.csv", None)


def test_a_column_named_as_a_time_that_is_none_is_refused(tmp_path: Path) -> None:
    rows = [f"{u},{i},{'yesterday' if n % 3 else at.date()}" for n, (u, i, at, _) in enumerate(log())]
    (tmp_path / "log.csv").write_text("\n".join(["user,item,date", *rows]))
    with pytest.raises(DataError, match=r"column 'date' is named as a time, .* no times, such as 'yesterday'; write"):
        recognise(tmp_path / "log.csv", None)
