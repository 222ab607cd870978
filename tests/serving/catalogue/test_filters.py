"""The filter language, compared with an evaluation row by row."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retort.serving.catalogue.attributes import Attributes
from retort.serving.catalogue.filters import MAX_CONDITIONS, MAX_DEPTH, FilterCompiler
from retort.serving.schemas.problems import Problem
from tests.serving._graphs import item_table

TABLE = item_table(60)
ROWS = TABLE.to_pylist()
NOW = datetime(2030, 1, 1, tzinfo=UTC)
FILTERS = FilterCompiler(Attributes(TABLE), clock=NOW.timestamp)


def passing(filter: dict[str, Any], filters: FilterCompiler = FILTERS) -> list[str]:
    mask = filters.mask(filter)
    assert not mask[0], "PAD passes nothing"
    return [row["item_id"] for row, passes in zip(ROWS, mask[1:], strict=True) if passes]


def expected(test: Callable[[dict[str, Any]], bool]) -> list[str]:
    return [row["item_id"] for row in ROWS if test(row)]


@pytest.mark.parametrize(
    ("filter", "test"),
    [
        ({"genre": "drama"}, lambda r: r["genre"] == "drama"),
        ({"genre": ["drama", "horror", "?"]}, lambda r: r["genre"] in ("drama", "horror")),
        ({"genre": "nothing has this"}, lambda r: False),
        ({"genre": []}, lambda r: False),
        ({"tags": "t3"}, lambda r: "t3" in (r["tags"] or [])),
        ({"tags": {"not_in": ["t0", "t1"]}}, lambda r: not {"t0", "t1"} & set(r["tags"] or [])),
        ({"tags": {"exists": False}}, lambda r: r["tags"] is None),
        ({"year": 1990}, lambda r: r["year"] == 1990),
        ({"year": {"gte": 1990, "lt": 2000}}, lambda r: 1990 <= r["year"] < 2000),
        ({"price": {"gt": 20.5, "lte": 50}}, lambda r: 20.5 < r["price"] <= 50),
        ({"available": True}, lambda r: r["available"]),
        ({"available": {"ne": True}}, lambda r: not r["available"]),
        ({"expires_at": {"gt": "now"}}, lambda r: r["expires_at"] > NOW),
        ({"expires_at": {"lt": "2021-01-01T00:00:00Z"}}, lambda r: r["expires_at"].year == 2020),
        ({"genre": "drama", "available": True}, lambda r: r["genre"] == "drama" and r["available"]),
        ({"any": [{"genre": "drama"}, {"year": {"lt": 1985}}]}, lambda r: r["genre"] == "drama" or r["year"] < 1985),
        ({"not": {"genre": {"in": ["drama"]}}}, lambda r: r["genre"] != "drama"),
        (
            {"all": [{"genre": "drama"}, {"not": {"tags": "t1"}}]},
            lambda r: r["genre"] == "drama" and "t1" not in r["tags"],
        ),
    ],
)
def test_a_filter_selects_the_expected_rows(filter: dict[str, Any], test: Callable[[dict[str, Any]], bool]) -> None:
    safe = expected(lambda row: test({**row, "tags": row["tags"] or []}) if "not" in str(filter) else test(row))
    assert passing(filter) == safe
    assert passing(filter) == safe, "and again from memory"


@pytest.mark.parametrize(
    ("filter", "where"),
    [
        ({}, "filter"),
        ({"colour": "red"}, "filter.colour"),
        ({"item_id": "i1"}, "filter.item_id"),
        ({"genre": 3}, "filter.genre"),
        ({"genre": {"gt": "a"}}, "filter.genre.gt"),
        ({"genre": {"like": "a"}}, "filter.genre"),
        ({"genre": {}}, "filter.genre"),
        ({"genre": {"in": "drama"}}, "filter.genre.in"),
        ({"genre": None}, "filter.genre"),
        ({"year": "1990"}, "filter.year"),
        ({"year": True}, "filter.year"),
        ({"available": 1}, "filter.available"),
        ({"expires_at": {"gt": "tomorrow"}}, "filter.expires_at.gt"),
        ({"expires_at": {"gt": "2026-01-01T00:00:00"}}, "filter.expires_at.gt"),
        ({"tags": {"exists": 1}}, "filter.tags.exists"),
        ({"year": 10**30}, "filter"),
        ({"year": {"lt": float("inf")}}, "filter.year.lt"),
        ({"year": {"lt": None}}, "filter.year.lt"),
        ({"year": [2000, float("nan")]}, "filter.year"),
        ({"all": []}, "filter.all"),
        ({"any": {"genre": "drama"}}, "filter.any"),
        ({"any": [1]}, "filter.any.0"),
        ({"not": []}, "filter.not"),
        ({"genre": ["x"] * 1001}, "filter.genre"),
        ({"any": [{"genre": "x"}] * (MAX_CONDITIONS + 1)}, f"filter.any.{MAX_CONDITIONS}.genre"),
    ],
)
def test_an_invalid_filter_is_reported_with_its_location(filter: dict[str, Any], where: str) -> None:
    with pytest.raises(Problem) as caught:
        FILTERS.mask(filter)
    assert caught.value.status == 422
    assert caught.value.extra["errors"][0]["where"] == where


def test_depth_is_bounded() -> None:
    filter: dict[str, Any] = {"genre": "drama"}
    for _ in range(MAX_DEPTH - 1):
        filter = {"not": filter}
    FILTERS.mask(filter)
    with pytest.raises(Problem, match="deep"):
        FILTERS.mask({"not": filter})


def test_filters_with_now_are_not_cached() -> None:
    at = [NOW.timestamp()]
    filters = FilterCompiler(Attributes(TABLE), clock=lambda: at[0])
    alive = passing({"expires_at": {"gt": "now"}}, filters)
    at[0] = datetime(2010, 1, 1, tzinfo=UTC).timestamp()
    assert len(passing({"expires_at": {"gt": "now"}}, filters)) > len(alive)


def test_cached_masks_are_limited_by_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retort.serving.catalogue.filters.CACHE_BYTES", 3 * (len(ROWS) + 550))
    filters = FilterCompiler(Attributes(TABLE))
    masks = {year: filters.mask({"year": year}) for year in range(9)}
    assert 1 <= filters.cached_bytes <= 3 * (len(ROWS) + 550)
    assert filters.mask({"year": 8}) is masks[8], "the last ones are kept"
    assert filters.mask({"year": 0}) is not masks[0]
    monkeypatch.setattr("retort.serving.catalogue.filters.CACHE_BYTES", 0)
    filters.mask({"year": 99})
    assert filters.cached_bytes == 0


def test_columns_of_every_supported_type_are_read() -> None:
    table = pa.table(
        {
            "item_id": ["a", "b", "c"],
            "dictionary": pa.array(["x", None, "y"]).dictionary_encode(),
            "large": pa.array([["p", None], None, ["q"]], pa.large_list(pa.large_string())),
            "day": pa.array([datetime(2020, 1, 1), None, datetime(2021, 1, 1)], pa.date32()),
            "small": pa.array([1, None, 3], pa.int8()),
            "fine": pa.array([datetime(2020, 1, 1, 0, 0, 0, 1), None, datetime(2021, 1, 1)], pa.timestamp("us")),
            "structure": pa.array([{"a": 1}] * 3),
        }
    )
    attributes = Attributes(table)
    assert attributes.names == ["dictionary", "large", "day", "small", "fine"]
    filters = FilterCompiler(attributes)
    for filter, mask in (
        ({"dictionary": "x"}, [True, False, False]),
        ({"large": "p"}, [True, False, False]),
        ({"large": {"exists": True}}, [True, False, True]),
        ({"day": {"gte": "2020-06-01T00:00:00Z"}}, [False, False, True]),
        ({"fine": {"gte": "2020-01-01T00:00:00Z"}}, [True, False, True]),
        ({"small": {"gte": 1}}, [True, False, True]),
        ({"small": {"ne": 1}}, [False, True, True]),
    ):
        assert filters.mask(filter)[1:].tolist() == mask, filter


condition = st.one_of(
    st.builds(lambda v: {"genre": v}, st.sampled_from(["drama", "comedy", "none"])),
    st.builds(lambda v: {"year": {"gte": v}}, st.integers(1975, 2025)),
    st.builds(lambda v: {"tags": v}, st.sampled_from(["t0", "t1", "t4"])),
)


@given(condition, condition)
def test_logical_operators_combine_filters(one: dict[str, Any], other: dict[str, Any]) -> None:
    both, either = set(passing({"all": [one, other]})), set(passing({"any": [one, other]}))
    assert both == set(passing(one)) & set(passing(other))
    assert either == set(passing(one)) | set(passing(other))
    assert set(passing({"not": one})) == {row["item_id"] for row in ROWS} - set(passing(one))
