"""Awkward frames are read as the same log as plain ones, or refused in a sentence of the library."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import retort
from retort.offline.common.progress import Silent
from retort.offline.data.interactions import Interactions
from retort.offline.data.load import load_data
from retort.offline.quickstart.recipe_file import data_section
from retort.offline.recipes.recipe import parse_recipe
from retort.offline.recipes.recipe_files import read_recipe
from retort.shared.base.errors import DataError

_N = 300


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("RETORT_HOME", str(tmp_path))
    return


def plain() -> pd.DataFrame:
    rows = [(f"u{n * 7 % 40}", f"i{n * 11 % 25}") for n in range(_N)]
    times = pd.Timestamp("2025-01-01") + pd.to_timedelta([3 * n for n in range(_N)], unit="h")
    return pd.DataFrame({"user_id": [u for u, _ in rows], "item_id": [i for _, i in rows], "timestamp": times})


def read(events: Any, items: Any = None) -> Interactions:
    """The interactions that a training on this frame would see."""
    data = retort.read(events, items)
    _, raw = read_recipe("shop", Path.cwd())
    recipe = parse_recipe("shop", {**raw, "data": data_section(data.recognised)})
    return load_data(recipe.data, data.directory, Silent()).interactions


def numbers(column: str) -> pd.Series:
    return plain()[column].str.slice(1).astype("int64")


FRAMES: dict[str, Callable[[], Any]] = {
    "categories": lambda: plain().astype({"user_id": "category", "item_id": "category"}),
    "a time zone": lambda: plain().assign(timestamp=plain()["timestamp"].dt.tz_localize("Europe/Berlin")),
    "datetimes as objects": lambda: plain().assign(timestamp=pd.Series(list(plain()["timestamp"]), dtype=object)),
    "an index that is the user": lambda: plain().set_index("user_id"),
    "two levels of an index": lambda: plain().set_index(["user_id", "item_id"]),
    "rows twice": lambda: pd.concat([plain(), plain()]),
    "numbers as names of columns": lambda: plain().set_axis([0, 1, 2], axis=1),
    "polars categories": lambda: pl.from_pandas(plain()).cast({"user_id": pl.Categorical}),
    "bytes": lambda: pl.from_pandas(plain()).cast({"user_id": pl.Binary}),
    "a lazy frame": lambda: pl.from_pandas(plain()).lazy(),
    "a record batch": lambda: pa.Table.from_pandas(plain()).to_batches()[0],
    "an Arrow dictionary": lambda: pa.table(
        {
            **{name: pa.array(plain()[name]) for name in plain()},
            "user_id": pa.array(plain()["user_id"]).dictionary_encode(),
        }
    ),
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_a_frame_in_any_form_is_the_same_log(frame: Callable[[], Any]) -> None:
    expected = read(plain()).frame.select("user_id", "item_id")
    got = read(frame())
    assert got.clock == "time"
    assert got.frame.select("user_id", "item_id").equals(expected)


@pytest.mark.parametrize("kind", ["int64", "float64", "Int64"])
def test_numbers_as_ids_keep_their_digits(kind: Any) -> None:
    given = plain().assign(user_id=numbers("user_id").astype(kind), item_id=numbers("item_id"))
    got = read(given).frame
    assert set(got["user_id"]) == {str(number) for number in numbers("user_id")}


def test_ids_of_several_types_become_text_and_missing_ones_are_left_out() -> None:
    mixed = [int(user[1:]) if n % 2 else user for n, user in enumerate(plain()["user_id"])]
    given = plain().assign(user_id=pd.Series([None, *mixed[1:]], dtype=object))
    got = read(given).frame
    assert got.height == _N - 1
    assert set(got["user_id"]) == {str(user) for user in mixed[1:]}


def test_missing_titles_are_no_titles() -> None:
    items = pd.DataFrame({"item_id": [f"i{n}" for n in range(25)], "title": [float("nan"), *["A thing"] * 24]})
    data = retort.read(plain(), items)
    assert data.recognised.item_columns is not None
    assert data.recognised.item_columns.title == "title"
    assert data.recognised.items is not None
    assert data.recognised.items.frame["title"].null_count() == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: plain().iloc[:0], "events has no rows"),
        (lambda: plain().set_axis(["user_id", "item_id", "item_id"], axis=1), "two columns 'item_id'; rename one"),
        (lambda: plain()["user_id"], "events is a Series; give a path, or a frame"),
        (lambda: {"user_id": ["a"]}, "events is a dict; give a path"),
        (lambda: pl.DataFrame({"user_id": [b"\xff"] * 3, "item_id": ["a"] * 3}), "bytes that are no text"),
        (
            lambda: plain()[["timestamp"]],
            r"events: no column looks like the user.*name the columns with user= and item=",
        ),
    ],
)
def test_what_is_no_log_is_refused_in_the_words_of_the_library(given: Callable[[], Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        retort.read(given())


def test_data_sets_of_other_libraries_are_read() -> None:
    @dataclass
    class RecTools:
        frame: pd.DataFrame

        def get_raw_interactions(self) -> pd.DataFrame:
            return self.frame

    @dataclass
    class RePlay:
        interactions: pd.DataFrame
        feature_schema: str = "…"

    log = plain().set_axis(["user_id", "item_id", "datetime"], axis=1).assign(weight=1.0)
    replay = plain().set_axis(["query_id", "item_id", "timestamp"], axis=1).assign(rating=1.0)
    expected = read(plain()).frame.select("user_id", "item_id")
    assert read(RecTools(log)).frame.select("user_id", "item_id").equals(expected)
    assert read(RePlay(replay)).frame.select("user_id", "item_id").equals(expected)
