"""Events: raw events → checked events with text ids, times in ms and numeric weights; bad rows are rejected.

Rows are read and checked in blocks, so that their raw values are never in memory all at once.
"""

from collections.abc import Iterator, Sequence

import polars as pl

from retort.offline.data import times
from retort.offline.data.ids import Ids, clean_ids
from retort.offline.data.interactions import BELOW_MS
from retort.offline.data.rejects import Rejects
from retort.offline.data.sources import RawTable, RawTables
from retort.shared.base.errors import DataError
from retort.shared.base.schema import MAX_ID_LENGTH

BLOCK_ROWS = 4_000_000
_SAMPLES = 2  # places of a block from which user ids are sampled
_SAMPLED_ROWS = 2_000  # at each place


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
    if not frame.select(
        pl.any_horizontal(pl.lit(False), *(rule.fill_null(False) for _, rule, _ in problems)).any()
    ).item():
        return frame
    first_problem = pl.lit(None, dtype=pl.Int32)
    for number, (_, condition, _) in reversed(list(enumerate(problems))):
        first_problem = pl.when(condition).then(pl.lit(number, dtype=pl.Int32)).otherwise(first_problem)
    marked = frame.with_columns(_problem=first_problem)
    rejected_rows = marked.filter(pl.col("_problem").is_not_null())
    for number, (column, _, reason) in enumerate(problems):
        bad = rejected_rows.filter(pl.col("_problem") == number)
        raw = f"_raw_{column}"
        value = pl.col(raw if raw in bad.columns else column).cast(pl.String)
        rejected = bad.select(
            "row", pl.lit(table.name(column)).alias("column"), value.alias("value"), reason=pl.lit(reason)
        )
        rejects.add_frame(table.file, rejected)
    return marked.filter(pl.col("_problem").is_null()).drop("_problem")


def without_zero_parts(events: pl.DataFrame) -> pl.DataFrame:
    """Return the events without the column of the parts of a millisecond, if no time has any."""
    return events if (events[BELOW_MS] != 0).any() else events.drop(BELOW_MS)


class EventReader:
    """Reader of all tables of events in blocks.

    Attributes:
        rows_read: file → rows, rejected ones included; complete after `blocks`.
        n_events: Number of good events; complete after `blocks`.
    """

    def __init__(self, tables: RawTables, rejects: Rejects, block_rows: int = BLOCK_ROWS) -> None:
        self.tables = tables
        self.rows_read: dict[str, int] = {}
        self.n_events = 0
        self._rejects = rejects
        self._block_rows = block_rows
        self._units: list[pl.DataFrame] = []

    def count_rows(self) -> int:
        """Return the number of rows of all tables."""
        return sum(_count_rows(table) for table in self.tables.interactions)

    def sample_users(self) -> pl.Series:
        """Return user ids from a few places of every block, sorted, with repeats."""
        parts = []
        for table in self.tables.interactions:
            for start in range(0, _count_rows(table), self._block_rows // _SAMPLES):
                rows = table.frame.slice(start, _SAMPLED_ROWS).select("row", "user_id")
                frame, _ = with_ids(collect(table, rows), table, ("user_id",))
                parts.append(frame["user_id"])
        return pl.concat(parts).drop_nulls().sort()

    def blocks(self) -> Iterator[pl.DataFrame]:
        """Yield the good events in file order: user_id, item_id, timestamp, weight and `_below_ms`.

        Raises:
            DataError: There are no rows, or, at the end, the times have mixed units.
        """
        tables = self.tables
        for table in tables.interactions:
            # those that could not be parsed
            self.rows_read[table.file] = self._rejects.count(table.file)
            n_rows = _count_rows(table)
            for start in range(0, max(n_rows, 1), self._block_rows):
                block = table.frame if n_rows <= self._block_rows else table.frame.slice(start, self._block_rows)
                frame, ids = _parsed(table, block, tables)
                if tables.clock == "time":
                    self._note_units(frame, table)
                self.rows_read[table.file] += frame.height
                good = reject_bad_rows(frame, table, _problems(frame.schema, tables, ids), self._rejects)
                self.n_events += good.height
                yield good.select("user_id", "item_id", "timestamp", "weight", BELOW_MS)
        if tables.clock == "time":
            times.refuse_mixed(pl.concat(self._units), tables.interactions[0].name("timestamp"))
        if not sum(self.rows_read.values()):
            files = ", ".join(table.file for table in tables.interactions)
            raise DataError(f"{files}: there are no events, at most a header; give a file with rows.")

    def _note_units(self, frame: pl.DataFrame, table: RawTable) -> None:
        """Keep the first time of each unit."""
        if self.tables.time_unit == "auto" and self.tables.time_format is None:
            where = f"{table.file}, column {table.name('timestamp')!r}"
            times.refuse_compact_dates(frame["_raw_timestamp"], where)
        firsts = frame.select("row", pl.col("_raw_timestamp").alias("value"), "unit").unique(
            "unit", keep="first", maintain_order=True
        )
        self._units.append(
            firsts.select(pl.lit(table.file).alias("file"), "row", pl.col("value").cast(pl.String), "unit")
        )


def _count_rows(table: RawTable) -> int:
    return int(collect(table, table.frame.select(pl.len())).item())


def _parsed(table: RawTable, rows: pl.LazyFrame, tables: RawTables) -> tuple[pl.DataFrame, dict[str, Ids]]:
    """Frame with row, ids, timestamp, weight, unit and the raw values that may be wrong; its ids by column."""
    schema = rows.collect_schema()
    refuse_nested(table, schema, ("user_id", "item_id", "timestamp", "weight"))
    time = schema["timestamp"]
    weight = pl.col("weight") if "weight" in schema else pl.lit(None, dtype=pl.Float32)
    frame = rows.select(
        pl.col("row").cast(pl.Int64),
        "user_id",
        "item_id",
        "timestamp",
        _plain("timestamp", schema).alias("_raw_timestamp"),
        (_plain("weight", schema) if "weight" in schema else weight).alias("_raw_weight"),
        weight.cast(pl.Float32, strict=False).alias("weight"),
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


def _plain(column: str, schema: pl.Schema) -> pl.Expr:
    """Numbers and times as they are, which takes less memory than text; all else as text."""
    kept = schema[column].is_numeric() or schema[column].is_temporal()
    return pl.col(column) if kept else pl.col(column).cast(pl.String)


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


def _is_blank(column: str, schema: pl.Schema) -> pl.Expr:
    blank = pl.col(column).is_null()
    return blank | (pl.col(column).str.strip_chars() == "") if schema[column] == pl.String else blank


def _problems(schema: pl.Schema, tables: RawTables, ids: dict[str, Ids]) -> list[tuple[str, pl.Expr, str]]:
    missing = _is_blank("_raw_timestamp", schema)
    no_time = "not a whole number ≥ 0" if tables.clock == "position" else "not a time"
    is_clock, limit = tables.clock == "time", times.latest()
    is_guessed = is_clock and tables.time_unit == "auto"
    blank_weight = _is_blank("_raw_weight", schema)
    is_date = times.is_written_date("_raw_timestamp") if schema["_raw_timestamp"] == pl.String else pl.lit(False)
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
            pl.col("timestamp").is_null() & is_clock & is_date,
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
