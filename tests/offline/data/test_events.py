"""Times, ids and weights of raw events; faults are reported and counted."""

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from retort.offline.data.event_parts import EventPart, read_parts
from retort.offline.data.events import EventReader
from retort.offline.data.filters import filter_parts
from retort.offline.data.interactions import Clock
from retort.offline.data.rejects import Rejects
from retort.offline.data.sources import RawTable, RawTables, TimeUnit
from retort.offline.data.user_filters import Repeats, UserRules
from retort.shared.base.errors import DataError


def read_all(reader: EventReader) -> pl.DataFrame:
    """All checked events in file order."""
    (part,) = read_parts(reader, None)
    return part.read()


def in_order(cleaned: pl.DataFrame, repeats: Repeats = "keep") -> pl.DataFrame:
    """The events that are left when repeats are dropped, sorted."""
    parts, _ = filter_parts([EventPart.of(cleaned)], UserRules(None, repeats), k_core=0)
    return pl.concat(list(parts))


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
    reader = EventReader(tables, rejects)
    events = read_all(reader)
    assert events.height + len(rejects) == n == reader.rows_read["log.csv"]
    return events, rejects.frame()


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
        "2021-01-01 00:00:00 UTC",
        "2021-01-01 01:00:00 +0100 CET",
        "2021-01-01 00:00:00.000000 UTC",
        "2021-01-01 00:00 GMT",
        "2021-01-01T00:00:00,000",
        "2021-01-01 01:00:00+01",
        "2021-01-01 01:00:00 +0100",
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


def order(times: list[object], **options: object) -> list[str]:
    frame = pl.DataFrame({"user_id": ["u"] * len(times), "item_id": list("abcdef")[: len(times)], "at": times})
    events = RawTable("log.csv", frame.with_row_index("row").lazy(), {"timestamp": "at"})
    renamed = RawTable(events.file, events.frame.rename({"at": "timestamp"}), events.names)
    cleaned = read_all(EventReader(RawTables((renamed,), **options), Rejects()))  # type: ignore[arg-type]
    return in_order(cleaned)["item_id"].to_list()


@pytest.mark.parametrize(
    "times",
    [
        ["2021-01-01 00:00:00.000900", "2021-01-01 00:00:00.000100", "2021-01-01 00:00:00.000500"],
        ["2021-01-01T00:00:00.000000900Z", "2021-01-01T00:00:00.000000100Z", "2021-01-01T00:00:00.000000500Z"],
        [1_609_459_200_000_900, 1_609_459_200_000_100, 1_609_459_200_000_500],
        ["1609459200000000009", "1609459200000000001", "1609459200000000005"],
        [1_609_459_200_000_000_009, 1_609_459_200_000_000_001, 1_609_459_200_000_000_005],
        [1_609_459_200.0009, 1_609_459_200.0001, 1_609_459_200.0005],
        [1_609_459_200_000.9, 1_609_459_200_000.1, 1_609_459_200_000.5],
        [datetime(2021, 1, 1, microsecond=9), datetime(2021, 1, 1, microsecond=1), datetime(2021, 1, 1, microsecond=5)],
    ],
)
def test_parts_of_a_millisecond_decide_the_order(times: list[object]) -> None:
    assert order(times) == ["b", "c", "a"]


def test_equal_milliseconds_of_several_files_keep_the_order_of_time() -> None:
    times = pl.Series([1_609_459_200_000_000, 1_609_459_200_000_300])
    frames = [
        pl.DataFrame({"row": [1], "user_id": ["u"], "item_id": [item], "timestamp": [at]})
        for item, at in (("b", times[1]), ("a", times[0]))
    ]
    tables = RawTables(tuple(RawTable(f"{place}.csv", frame.lazy()) for place, frame in enumerate(frames)))
    cleaned = read_all(EventReader(tables, Rejects()))
    ordered = in_order(cleaned)
    assert ordered["item_id"].to_list() == ["a", "b"]
    assert ordered.columns == ["user_id", "item_id", "timestamp", "weight"]


@pytest.mark.parametrize(
    ("values", "time_format"),
    [
        ([20210314150926, 20210315150926], "%Y%m%d%H%M%S"),
        (["202103141509", "202103151509"], "%Y%m%d%H%M"),
        (["20210314", "20210315"], "%Y%m%d"),
        ([20210314150926.0], "%Y%m%d%H%M%S"),
    ],
)
def test_dates_written_as_digits_are_no_counts(values: list[object], time_format: str) -> None:
    with pytest.raises(DataError, match=rf'log\.csv, column .ts.*set time_format = "{time_format}"'):
        clean(values)


def test_times_of_the_next_century_are_rejected() -> None:
    frame, rejects = clean([1_609_459_200, 4_576_000_000])
    assert frame.height == 1
    assert rejects["reason"][0].startswith("later than ")
    assert clean(["2021-01-01", "2115-01-01"])[1].height == 1
    assert clean([4_576_000_000], unit="s")[0].height == 1  # stated, so believed


def test_other_dates_have_a_way_in() -> None:
    _, rejects = clean(["2021-01-01", "13.09.2020 12:26"])
    assert 'set time_format in [data.options], for example "%d.%m.%Y %H:%M"' in rejects["reason"][0]
    assert order(["13.09.2020 12:26", "12.10.2019 12:26"], time_format="%d.%m.%Y %H:%M") == ["b", "a"]
    assert order([20210314150926, 20210313150926], time_format="%Y%m%d%H%M%S") == ["b", "a"]
    assert order(["13/Sep/2020:12:26:00 +0200", "13/Sep/2020:12:27:00 +0500"], time_format="%d/%b/%Y:%H:%M:%S %z") == [
        "b",
        "a",
    ]
    assert order(["13.09.2020", "12.10.2019"], time_format="%d.%m.%Y") == ["b", "a"]


def test_exact_repeats_are_compared_with_all_digits_of_the_time() -> None:
    def kept(times: list[object]) -> int:
        frame = pl.DataFrame({"row": range(len(times)), "user_id": "u", "item_id": "a", "timestamp": times})
        cleaned = read_all(EventReader(RawTables((RawTable("log.csv", frame.lazy()),)), Rejects()))
        return in_order(cleaned, "exact").height

    assert kept(["2021-01-01 00:00:00.000100", "2021-01-01 00:00:00.000200", "2021-01-01 00:00:00.000200"]) == 2
    assert kept([1_609_459_200_000_000_001, 1_609_459_200_000_000_002]) == 2
    assert kept(["2021-01-01 00:00:00.000100", "2021-01-01 00:00:00.000100"]) == 1
    assert kept(["2021-01-01", "2021-01-01"]) == 1
