"""Times, ids and weights of raw events; faults are reported and counted."""

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from retort.offline.data.events import clean_events
from retort.offline.data.interactions import Clock
from retort.offline.data.rejects import Rejects
from retort.offline.data.sources import RawTable, RawTables, TimeUnit
from retort.shared.base.errors import DataError


def clean(
    times: list[object], clock: Clock = "time", unit: TimeUnit = "auto", **columns: list[object]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    n = len(times)
    frame = pl.DataFrame(
        {
            "row": range(2, n + 2),
            "user_id": columns.get("user_id", ["u"] * n),
            "item_id": columns.get("item_id", [f"i{at}" for at in range(n)]),
            "timestamp": times,
            "weight": columns.get("weight", [None] * n),
        }
    )
    rejects = Rejects()
    tables = RawTables((RawTable("log.csv", frame.lazy(), {"timestamp": "ts"}),), clock=clock, time_unit=unit)
    events = clean_events(tables, rejects)
    assert events.frame.height + len(rejects) == n == events.rows_read["log.csv"]
    return events.frame, rejects.frame()


@pytest.mark.parametrize(
    "value",
    [
        1_609_459_200,
        1_609_459_200.0,
        "1609459200",
        1_609_459_200_000,
        "1609459200000",
        1_609_459_200_000_000,
        1_609_459_200_000_000_000,
        "2021-01-01",
        "2021-01-01 00:00",
        "2021-01-01T00:00:00",
        "2021-01-01T00:00:00Z",
        "2021-01-01 01:00:00.000+01:00",
        "2020-12-31T19:00:00-0500",
    ],
)
def test_every_unit_becomes_milliseconds(value: object) -> None:
    frame, _ = clean([value])
    assert frame["timestamp"].to_list() == [1_609_459_200_000]


def test_temporal_columns_and_fractions_of_seconds() -> None:
    moment = datetime(2021, 1, 1, 1, tzinfo=ZoneInfo("Europe/Berlin"))
    for value in (moment, moment.astimezone(UTC).replace(tzinfo=None), date(2021, 1, 1)):
        assert clean([value])[0]["timestamp"].to_list() == [1_609_459_200_000]
    assert clean([1_609_459_200.25])[0]["timestamp"].to_list() == [1_609_459_200_250]


@pytest.mark.parametrize("second", [1_609_459_200_000, "2021-01-01"])
def test_mixed_units_are_refused_with_an_example_of_each(second: object) -> None:
    with pytest.raises(DataError, match=r"'ts' mixes units of time: .*row 2 .*row 3"):
        clean([str(1_609_459_200), str(second)])


def test_small_numbers_are_taken_for_positions() -> None:
    with pytest.raises(DataError, match=r"log.csv, row 2, column 'ts': 0 .*position"):
        clean([0, 1, 2])


def test_stated_unit_is_believed() -> None:
    assert clean([10, 20], unit="s")[0]["timestamp"].to_list() == [10_000, 20_000]


def test_bad_times_are_rejected_by_row() -> None:
    frame, rejects = clean(["1609459200", "", "soon", "17", None])
    assert frame.height == 1
    assert rejects.select("row", "column", "value", "reason").rows() == [
        (3, "ts", "", "missing"),
        (4, "ts", "soon", "not a time"),
        (5, "ts", "17", "too small for a clock time (before 1973)"),
        (6, "ts", None, "missing"),
    ]


def test_positions_are_whole_numbers() -> None:
    frame, rejects = clean(["0", "1.0", "1.5", "-1", "x"], clock="position")
    assert frame["timestamp"].to_list() == [0, 1]
    assert rejects["reason"].unique().to_list() == ["not a whole number ≥ 0"]


def test_ids_are_trimmed_text_and_must_be_there() -> None:
    frame, rejects = clean([1e9] * 4, user_id=[" u ", "", None, "x" * 257])
    assert frame["user_id"].to_list() == ["u"]
    assert rejects["reason"].to_list() == ["missing", "missing", "longer than 256 characters"]


def test_whole_float_ids_lose_their_point() -> None:
    assert clean([1e9, 1e9], item_id=[7.0, 8.0])[0]["item_id"].to_list() == ["7", "8"]


def test_weights_are_numbers_or_unknown() -> None:
    frame, rejects = clean([1e9] * 5, weight=["4.5", "", None, "good", "nan"])
    assert frame["weight"].to_list() == [4.5, None, None]
    assert rejects.select("row", "column", "value").rows() == [(5, "weight", "good"), (6, "weight", "nan")]


@pytest.mark.parametrize("columns", [{"user_id": [["u"]]}, {"item_id": [{"a": 1}]}, {"weight": [[1.0]]}])
def test_columns_of_lists_or_records_are_refused(columns: dict[str, list[object]]) -> None:
    with pytest.raises(DataError, match=rf"log\.csv, column '{next(iter(columns))}' holds values of type"):
        clean([1e9], **columns)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="'ts' holds values of type Time"):
        clean([time(12)])
