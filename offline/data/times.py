"""Times of raw files: seconds to nanoseconds since 1970, or text; one unit for a whole data set.

Units are recognised by magnitude: between 1973 and 5138, seconds, milli-, micro- and nanoseconds do not overlap. Dates
written as digits (20210314150926) would pass for one of them, and so would a wrong unit: times after next year are
rejected unless `time_unit` is stated.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from retort.offline.data.sources import TimeUnit
from retort.shared.base.errors import DataError

# |value| below the limit → unit. Under the first limit lie years, days and positions: no clock that we know.
LIMITS = (("small", 1e8), ("s", 1e11), ("ms", 1e14), ("us", 1e17), ("ns", float("inf")))
PER_MILLISECOND = {"s": 1e-3, "ms": 1, "us": 1_000, "ns": 1_000_000}
ISO = "iso"
NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds", ISO: "ISO text"}
_ISO_FORMAT = "%Y-%m-%dT%H:%M:%S%.f%:z"
# digits of a date, and of a date with hours, minutes and seconds → the format that reads them
_DATE = r"(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
_COMPACT = {
    f"^{_DATE}$": "%Y%m%d",
    f"^{_DATE}(?:[01]\\d|2[0-3])[0-5]\\d$": "%Y%m%d%H%M",
    f"^{_DATE}(?:[01]\\d|2[0-3])[0-5]\\d[0-5]\\d$": "%Y%m%d%H%M%S",
}
_WRITTEN_DATE = r"^\s*\d{1,2}[./-]\d{1,2}[./-]\d{2,4}\b"
ODD_DATE = 'a date in another order; set time_format in [data.options], for example "%d.%m.%Y %H:%M"'


def unit_of(column: str, dtype: pl.DataType, unit: TimeUnit, time_format: str | None = None) -> pl.Expr:
    """Return the unit of each value: small, s, ms, us, ns, iso; null where it is not a time."""
    if dtype.is_temporal():
        return pl.when(pl.col(column).is_not_null()).then(pl.lit(ISO))
    if time_format is not None:
        return pl.when(_nanoseconds(column, dtype, time_format).is_not_null()).then(pl.lit(ISO))
    number = pl.col(column).cast(pl.Float64, strict=False)
    usable = number.is_not_null() & number.is_finite()
    if unit != "auto":
        by_number = pl.when(usable).then(pl.lit(unit))
    else:
        chain: pl.Expr = pl.lit(None, dtype=pl.String)
        for name, limit in reversed(LIMITS):
            chain = pl.when(number.abs() < limit).then(pl.lit(name)).otherwise(chain)
        by_number = pl.when(usable).then(chain)
    if dtype != pl.String:
        return by_number
    return by_number.otherwise(pl.when(_nanoseconds(column, dtype).is_not_null()).then(pl.lit(ISO)))


def milliseconds(
    column: str, dtype: pl.DataType, unit: pl.Expr, time_format: str | None = None
) -> tuple[pl.Expr, pl.Expr]:
    """Return i64 ms since 1970 UTC, given each value's unit, and f64 what lies below them, which decides the order."""
    if dtype.is_temporal():
        # the epoch is UTC for any time zone; a date means its midnight
        moment = pl.col(column).cast(pl.Datetime("ms")) if dtype == pl.Date else pl.col(column)
        return moment.dt.epoch("ms"), (moment.dt.nanosecond() % 1_000_000).cast(pl.Float64)
    time, rest = pl.lit(None, dtype=pl.Int64), pl.lit(0.0)
    if time_format is None:
        number = pl.col(column).cast(pl.Float64, strict=False)
        # whole numbers are exact as integers only
        whole = pl.col(column).cast(pl.Int64, strict=False) if not dtype.is_float() else pl.lit(None, dtype=pl.Int64)
        for name, per_ms in PER_MILLISECOND.items():
            scaled = (number / per_ms).round(0).cast(pl.Int64, strict=False)
            if per_ms < 1:
                exact, exact_rest = whole * 1000, number * 1000 - scaled
            else:
                exact = (whole + per_ms // 2).floordiv(int(per_ms))
                exact_rest = pl.coalesce((whole - exact * int(per_ms)).cast(pl.Float64), number - scaled * per_ms)
            time = pl.when(unit == name).then(pl.coalesce(exact, scaled)).otherwise(time)
            rest = pl.when(unit == name).then(exact_rest).otherwise(rest)
    if dtype == pl.String or time_format is not None:
        moment = _nanoseconds(column, dtype, time_format)
        time = pl.when(unit == ISO).then(moment.dt.epoch("ms")).otherwise(time)
        rest = pl.when(unit == ISO).then((moment.dt.nanosecond() % 1_000_000).cast(pl.Float64)).otherwise(rest)
    return time, rest.fill_null(0.0)


def _nanoseconds(column: str, dtype: pl.DataType, time_format: str | None = None) -> pl.Expr:
    """Parse text as UTC where it has no zone: 2021-03-14, 2021-03-14 15:09, 2021-03-14T15:09:26.5+01:00, … 26 UTC."""
    text = (pl.col(column) if dtype == pl.String else pl.col(column).cast(pl.Int64, strict=False).cast(pl.String)).str
    if time_format is not None:
        parsed = text.strip_chars().str.to_datetime(time_format, time_unit="ns", strict=False)
        return parsed.dt.convert_time_zone("UTC") if "%z" in time_format or "%:z" in time_format else parsed
    text = text.strip_chars().str.replace(r"^(\d{4}-\d{2}-\d{2})$", "${1}T00:00:00+00:00").str
    # Go's text: an offset, and then the zone's name
    text = text.replace(r"([+-]\d{2}:?\d{2})\s+[A-Z]{2,5}$", "${1}").str
    text = text.replace(r"\s*(?:[Zz]|UTC|GMT)$", "+00:00").str.replace(r"(\d) +([+-]\d{2}:?\d{2})$", "${1}${2}").str
    text = text.replace(r"^(\d{4}-\d{2}-\d{2}) +", "${1}T").str.replace(r"T(\d{2}:\d{2})($|[+-])", "T${1}:00${2}").str
    text = text.replace(r"(:\d{2}),(\d+)", "${1}.${2}").str.replace(r"(T.*[+-]\d{2})$", "${1}:00").str
    text = text.replace(r"([+-]\d{2})(\d{2})$", "${1}:${2}").str
    return text.replace(r"(T\d{2}:\d{2}:\d{2}(?:\.\d+)?)$", "${1}+00:00").str.to_datetime(
        _ISO_FORMAT, time_unit="ns", strict=False
    )


def latest() -> datetime:
    """Return the time after which no event is believed: a year ahead, for clocks that are wrong."""
    return max(datetime.now(UTC), datetime(2026, 1, 1, tzinfo=UTC)) + timedelta(days=366)


def is_written_date(column: str) -> pl.Expr:
    """Whether text looks like 13.09.2020 or 9/13/20, whose order of day and month is not known."""
    return pl.col(column).str.contains(_WRITTEN_DATE)


def refuse_compact_dates(values: pl.Series, where: str) -> None:
    """Raise DataError if all values are digits of dates, as in 20210314150926.

    Args:
        values: Raw times.
        where: The file and the column's name in it.
    """
    some = values.drop_nulls().head(1000).cast(pl.String).str.strip_chars().str.replace(r"\.0$", "")
    for pattern, time_format in _COMPACT.items():
        if len(some) and some.str.contains(pattern).all():
            raise DataError(
                f"{where}: times such as {some[0]} are digits of dates, not a count of seconds; set "
                f'time_format = "{time_format}" in [data.options], or time_unit if they are counts.'
            )


def as_milliseconds(values: pl.Series, path: Path) -> pl.Series:
    """Convert a CSV's times, numbers of any unit or text, to values in the right order.

    Raises:
        DataError: A value is no time.
    """
    number = values.cast(pl.Int64, strict=False)
    if number.null_count() > values.null_count():
        number = values.cast(pl.Float64, strict=False)
    if number.null_count() > values.null_count():
        moments = values.to_frame("time").select(_nanoseconds("time", pl.String()).dt.epoch("ns"))["time"]
        number = moments
    if number.null_count() > values.null_count():
        bad = values.filter(number.is_null() & values.is_not_null())[0]
        raise DataError(
            f"{path}: the timestamp {bad!r} is no time; write numbers, or text such as 2021-03-14 15:09:26."
        )
    return number.alias(values.name)


def refuse_mixed(frame: pl.DataFrame, column: str) -> None:
    """Raise DataError if the rows have more than one unit, or values that are no times.

    Args:
        frame: Table with file, row, value, unit.
    """
    firsts = frame.filter(pl.col("unit").is_in(list(NAMES))).unique("unit", keep="first", maintain_order=True)
    examples = firsts.rows(named=True)
    if len(examples) > 1:
        listed = "; ".join(
            f"{NAMES[example['unit']]} in {example['file']}, row {example['row']} ({example['value']})"
            for example in examples
        )
        raise DataError(
            f"column {column!r} mixes units of time: {listed}. Convert all to one unit, or set time_unit in "
            "[data.options] if the file really has one."
        )
    if not examples and "small" in frame["unit"]:
        example = frame.filter(pl.col("unit") == "small").row(0, named=True)
        raise DataError(
            f"{example['file']}, row {example['row']}, column {column!r}: {example['value']} and the other values are "
            "too small for times; if they are positions in a user's history, name the column as `position`, "
            "otherwise set time_unit."
        )
