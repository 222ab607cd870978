"""Events: raw events → checked events with text ids, times in ms and numeric weights; bad rows are rejected."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from retort.offline.data import times
from retort.offline.data.rejects import Rejects
from retort.offline.data.sources import RawTable, RawTables
from retort.shared.base.errors import DataError
from retort.shared.base.schema import MAX_ID_LENGTH


@dataclass(frozen=True)
class Events:
    """Checked events in file order.

    Attributes:
        frame: user_id, item_id, timestamp i64, weight f32.
        rows_read: file → rows, rejected ones included.
    """

    frame: pl.DataFrame
    rows_read: dict[str, int]


def id_expression(column: str, dtype: pl.DataType) -> pl.Expr:
    """Expression of an id as text without surrounding spaces, null where missing; whole floats lose their `.0`."""
    value = pl.col(column)
    if dtype.is_float():
        whole = value.cast(pl.Int64, strict=False)
        text = pl.when(whole.cast(pl.Float64) == value).then(whole.cast(pl.String)).otherwise(value.cast(pl.String))
    else:
        text = value.cast(pl.String).str.strip_chars()
    return pl.when(text != "").then(text)


def refuse_nested(table: RawTable, schema: pl.Schema, columns: Sequence[str]) -> None:
    """Raise DataError for a column of lists or records where single values are required."""
    for column in columns:
        dtype = schema.get(column, pl.Null())
        if dtype.is_nested() or dtype == pl.Object or dtype in (pl.Time, pl.Duration):
            raise DataError(
                f"{table.file}, column {table.name(column)!r} holds values of type {dtype}, where one text or number "
                "is required; name another column, or flatten this one first."
            )


def id_problem(column: str) -> tuple[str, pl.Expr, str]:
    """Return the rule for an id that is too long, as (column, condition, reason)."""
    return (column, pl.col(column).str.len_chars() > MAX_ID_LENGTH, f"longer than {MAX_ID_LENGTH} characters")


def reject_bad_rows(
    frame: pl.DataFrame, table: RawTable, problems: Sequence[tuple[str, pl.Expr, str]], rejects: Rejects
) -> pl.DataFrame:
    """Return the rows without a problem; the others are rejected with their first problem.

    Args:
        problems: Rules as (column, condition, reason), in order.
        rejects: Collects the bad rows; `_raw_<column>`, where present, is the reported value.
    """
    first_problem = pl.lit(None, dtype=pl.Int32)
    for number, (_, condition, _) in reversed(list(enumerate(problems))):
        first_problem = pl.when(condition).then(pl.lit(number, dtype=pl.Int32)).otherwise(first_problem)
    marked = frame.with_columns(_problem=first_problem)
    for number, (column, _, reason) in enumerate(problems):
        bad = marked.filter(pl.col("_problem") == number)
        raw = f"_raw_{column}"
        value = pl.col(raw if raw in bad.columns else column).cast(pl.String)
        rejected = bad.select(
            "row", pl.lit(table.name(column)).alias("column"), value.alias("value"), reason=pl.lit(reason)
        )
        rejects.add_frame(table.file, rejected)
    return marked.filter(pl.col("_problem").is_null()).drop("_problem")


def clean_events(tables: RawTables, rejects: Rejects) -> Events:
    """Combine all tables of events.

    Raises:
        DataError: There are no rows, or the times have mixed units.
    """
    parsed = [_parsed(table, tables) for table in tables.interactions]
    if tables.clock == "time":
        units = [
            frame.select(pl.lit(table.file).alias("file"), "row", pl.col("_raw_timestamp").alias("value"), "unit")
            for frame, table in zip(parsed, tables.interactions, strict=True)
        ]
        times.refuse_mixed(pl.concat(units), tables.interactions[0].name("timestamp"))
    kept, rows_read = [], {}
    for frame, table in zip(parsed, tables.interactions, strict=True):
        rows_read[table.file] = frame.height + rejects.count(table.file)
        good = reject_bad_rows(frame, table, _problems(tables), rejects)
        kept.append(good.select("user_id", "item_id", "timestamp", "weight"))
    if not sum(rows_read.values()):
        files = ", ".join(table.file for table in tables.interactions)
        raise DataError(f"{files}: there are no events, at most a header; give a file with rows.")
    return Events(pl.concat(kept), rows_read)


def _parsed(table: RawTable, tables: RawTables) -> pl.DataFrame:
    """Frame with row, ids, timestamp, weight, unit, and the raw text of values that may be wrong."""
    schema = table.frame.collect_schema()
    refuse_nested(table, schema, ("user_id", "item_id", "timestamp", "weight"))
    time = schema["timestamp"]
    has_weight = "weight" in schema
    frame = table.frame.select(
        pl.col("row").cast(pl.Int64),
        id_expression("user_id", schema["user_id"]).alias("user_id"),
        id_expression("item_id", schema["item_id"]).alias("item_id"),
        pl.col("timestamp"),
        pl.col("timestamp").cast(pl.String).alias("_raw_timestamp"),
        (pl.col("weight") if has_weight else pl.lit(None)).cast(pl.String).alias("_raw_weight"),
        (pl.col("weight") if has_weight else pl.lit(None)).cast(pl.Float32, strict=False).alias("weight"),
    )
    if tables.clock == "time":
        frame = frame.with_columns(times.unit_of("timestamp", time, tables.time_unit).alias("unit"))
        frame = frame.with_columns(times.milliseconds("timestamp", time, pl.col("unit")).alias("timestamp"))
    else:
        number = pl.col("timestamp").cast(pl.Float64, strict=False)
        whole = number.cast(pl.Int64, strict=False)
        place = pl.when((whole.cast(pl.Float64) == number) & (whole >= 0)).then(whole)
        frame = frame.with_columns(place.alias("timestamp"), unit=pl.lit(None, dtype=pl.String))
    return frame.collect(engine="streaming")


def _problems(tables: RawTables) -> list[tuple[str, pl.Expr, str]]:
    missing = pl.col("_raw_timestamp").is_null() | (pl.col("_raw_timestamp").str.strip_chars() == "")
    no_time = "not a whole number ≥ 0" if tables.clock == "position" else "not a time"
    blank_weight = pl.col("_raw_weight").is_null() | (pl.col("_raw_weight").str.strip_chars() == "")
    no_weight = pl.col("weight").is_null() | pl.col("weight").is_nan() | pl.col("weight").is_infinite()
    return [
        ("user_id", pl.col("user_id").is_null(), "missing"),
        ("item_id", pl.col("item_id").is_null(), "missing"),
        id_problem("user_id"),
        id_problem("item_id"),
        ("timestamp", missing, "missing"),
        ("timestamp", pl.col("unit").fill_null("") == "small", "too small for a clock time (before 1973)"),
        ("timestamp", pl.col("timestamp").is_null(), no_time),
        ("weight", ~blank_weight & no_weight, "not a number"),
    ]
