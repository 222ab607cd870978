"""Times of raw files: seconds to nanoseconds since 1970, or ISO text; one unit for a whole data set.

Units are recognised by magnitude: between 1973 and 5138, seconds, milli-, micro- and nanoseconds do not overlap.
"""

import polars as pl

from retort.offline.data.sources import TimeUnit
from retort.shared.base.errors import DataError

# |value| below the limit → unit. Under the first limit lie years, days and positions: no clock that we know.
LIMITS = (("small", 1e8), ("s", 1e11), ("ms", 1e14), ("us", 1e17), ("ns", float("inf")))
MILLISECONDS = {"s": 1e3, "ms": 1.0, "us": 1e-3, "ns": 1e-6}
ISO = "iso"
NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds", ISO: "ISO text"}
_ISO_FORMAT = "%Y-%m-%dT%H:%M:%S%.f%:z"


def unit_of(column: str, dtype: pl.DataType, unit: TimeUnit) -> pl.Expr:
    """Return the unit of each value: small, s, ms, us, ns, iso; null where it is not a time."""
    if dtype.is_temporal():
        return pl.when(pl.col(column).is_not_null()).then(pl.lit(ISO))
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
    return by_number.otherwise(pl.when(_iso(column).is_not_null()).then(pl.lit(ISO)))


def milliseconds(column: str, dtype: pl.DataType, unit: pl.Expr) -> pl.Expr:
    """Return i64 ms since 1970 UTC, given each value's unit."""
    if dtype.is_temporal():
        # the epoch is UTC for any time zone; a date means its midnight
        return (pl.col(column).cast(pl.Datetime("ms")) if dtype == pl.Date else pl.col(column)).dt.epoch("ms")
    number = pl.col(column).cast(pl.Float64, strict=False)
    time = pl.lit(None, dtype=pl.Int64)
    for name, factor in MILLISECONDS.items():
        scaled = (number * factor).round(0)
        time = pl.when(unit == name).then(scaled.cast(pl.Int64, strict=False)).otherwise(time)
    if dtype == pl.String:
        time = pl.when(unit == ISO).then(_iso(column).dt.epoch("ms")).otherwise(time)
    return time


def _iso(column: str) -> pl.Expr:
    """Parse dates and times like 2021-03-14, 2021-03-14 15:09 or 2021-03-14T15:09:26.5+01:00; without a zone: UTC."""
    text = pl.col(column).str.strip_chars().str.replace(r"^(\d{4}-\d{2}-\d{2})$", "${1}T00:00:00+00:00")
    text = text.str.replace(r"^(\d{4}-\d{2}-\d{2}) ", "${1}T").str.replace(r"T(\d{2}:\d{2})($|[Zz+-])", "T${1}:00${2}")
    text = text.str.replace(r"[Zz]$", "+00:00").str.replace(r"([+-]\d{2})(\d{2})$", "${1}:${2}")
    text = text.str.replace(r"(T\d{2}:\d{2}:\d{2}(?:\.\d+)?)$", "${1}+00:00")
    return text.str.to_datetime(_ISO_FORMAT, time_unit="ms", strict=False)


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
            "otherwise set "
            "time_unit."
        )
