"""Events: raw events → checked events with text ids, times in ms and numeric weights; bad rows are rejected."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from retort.offline.data import times
from retort.offline.data.ids import Ids, clean_ids
from retort.offline.data.interactions import BELOW_MS
from retort.offline.data.rejects import Rejects
from retort.offline.data.sources import RawTable, RawTables
from retort.shared.base.errors import DataError
from retort.shared.base.schema import MAX_ID_LENGTH


@dataclass(frozen=True)
class Events:
    """Checked events in file order.

    Attributes:
        frame: user_id, item_id, timestamp i64, weight f32, and, only where a time has them, `_below_ms`: the parts of a
            millisecond, which decide the order of equal timestamps.
        rows_read: file → rows, rejected ones included.
    """

    frame: pl.DataFrame
    rows_read: dict[str, int]


def collect(table: RawTable, frame: pl.LazyFrame) -> pl.DataFrame:
    """Read the rows of a table.

    Raises:
        DataError: The file is damaged, or contains bytes that are not text.
    """
    try:
        return frame.collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{table.file} cannot be read ({reason}); write it again, with text as UTF-8.") from error


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
    parsed, ids = [], []
    for table in tables.interactions:
        frame, ids_of_table = _parsed(table, tables)
        parsed.append(frame)
        ids.append(ids_of_table)
    if tables.clock == "time":
        if tables.time_unit == "auto" and tables.time_format is None:
            for frame, table in zip(parsed, tables.interactions, strict=True):
                where = f"{table.file}, column {table.name('timestamp')!r}"
                times.refuse_compact_dates(frame["_raw_timestamp"], where)
        units = [
            frame.select(pl.lit(table.file).alias("file"), "row", pl.col("_raw_timestamp").alias("value"), "unit")
            for frame, table in zip(parsed, tables.interactions, strict=True)
        ]
        times.refuse_mixed(pl.concat(units), tables.interactions[0].name("timestamp"))
    kept, rows_read = [], {}
    for frame, columns, table in zip(parsed, ids, tables.interactions, strict=True):
        rows_read[table.file] = frame.height + rejects.count(table.file)
        good = reject_bad_rows(frame, table, _problems(tables, columns), rejects)
        kept.append(good.select("user_id", "item_id", "timestamp", "weight", BELOW_MS))
    if not sum(rows_read.values()):
        files = ", ".join(table.file for table in tables.interactions)
        raise DataError(f"{files}: there are no events, at most a header; give a file with rows.")
    events = pl.concat(kept)
    if not (events[BELOW_MS] != 0).any():
        events = events.drop(BELOW_MS)
    return Events(events, rows_read)


def _parsed(table: RawTable, tables: RawTables) -> tuple[pl.DataFrame, dict[str, Ids]]:
    """Frame with row, ids, timestamp, weight, unit and the raw text of values that may be wrong; its ids by column."""
    schema = table.frame.collect_schema()
    refuse_nested(table, schema, ("user_id", "item_id", "timestamp", "weight"))
    time = schema["timestamp"]
    has_weight = "weight" in schema
    frame = table.frame.select(
        pl.col("row").cast(pl.Int64),
        "user_id",
        "item_id",
        "timestamp",
        pl.col("timestamp").cast(pl.String).alias("_raw_timestamp"),
        (pl.col("weight") if has_weight else pl.lit(None)).cast(pl.String).alias("_raw_weight"),
        (pl.col("weight") if has_weight else pl.lit(None)).cast(pl.Float32, strict=False).alias("weight"),
    )
    if tables.clock == "time":
        time_format = tables.time_format
        frame = frame.with_columns(times.unit_of("timestamp", time, tables.time_unit, time_format).alias("unit"))
        moment, below = times.milliseconds("timestamp", time, pl.col("unit"), time_format)
        frame = frame.with_columns(moment.alias("timestamp"), below.alias(BELOW_MS))
    else:
        number = pl.col("timestamp").cast(pl.Float64, strict=False)
        whole = number.cast(pl.Int64, strict=False)
        place = pl.when((whole.cast(pl.Float64) == number) & (whole >= 0)).then(whole)
        frame = frame.with_columns(
            place.alias("timestamp"), pl.lit(None, dtype=pl.String).alias("unit"), pl.lit(0.0).alias(BELOW_MS)
        )
    return with_ids(collect(table, frame), table, ("user_id", "item_id"))


def with_ids(frame: pl.DataFrame, table: RawTable, columns: Sequence[str]) -> tuple[pl.DataFrame, dict[str, Ids]]:
    """Convert columns of ids to text.

    Raises:
        DataError: An id has lost digits as a float.
    """
    ids = {}
    for name in columns:
        ids[name] = clean_ids(frame[name], frame["row"], f"{table.file}, column {table.name(name)!r}")
        frame = frame.with_columns(ids[name].text.alias(name))
    return frame, ids


def _problems(tables: RawTables, ids: dict[str, Ids]) -> list[tuple[str, pl.Expr, str]]:
    missing = pl.col("_raw_timestamp").is_null() | (pl.col("_raw_timestamp").str.strip_chars() == "")
    no_time = "not a whole number ≥ 0" if tables.clock == "position" else "not a time"
    is_clock, limit = tables.clock == "time", times.latest()
    is_guessed = is_clock and tables.time_unit == "auto"
    blank_weight = pl.col("_raw_weight").is_null() | (pl.col("_raw_weight").str.strip_chars() == "")
    no_weight = pl.col("weight").is_null() | pl.col("weight").is_nan() | pl.col("weight").is_infinite()
    return [
        ("user_id", pl.col("user_id").is_null(), "missing"),
        ("item_id", pl.col("item_id").is_null(), "missing"),
        ids["user_id"].problem("user_id"),
        ids["item_id"].problem("item_id"),
        id_problem("user_id"),
        id_problem("item_id"),
        ("timestamp", missing, "missing"),
        ("timestamp", pl.col("unit").fill_null("") == "small", "too small for a clock time (before 1973)"),
        (
            "timestamp",
            pl.col("timestamp").is_null() & is_clock & times.is_written_date("_raw_timestamp"),
            times.ODD_DATE if tables.time_format is None else f"not a time of the format {tables.time_format!r}",
        ),
        ("timestamp", pl.col("timestamp").is_null(), no_time),
        ("timestamp", (pl.col("timestamp") < 0) & is_guessed, "earlier than 1970; set time_unit if it is right"),
        (
            "timestamp",
            (pl.col("timestamp") > int(limit.timestamp() * 1000)) & is_guessed,
            f"later than {limit.year}; set time_format in [data.options] if it is a date, time_unit if it is right",
        ),
        ("weight", ~blank_weight & no_weight, "not a number"),
    ]
