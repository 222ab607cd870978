"""Rejected rows: each unusable row with its place and the reason; no row is dropped silently."""

from collections import Counter

import polars as pl

from retort.shared.base.errors import DataError

# row: number of the record in its file, as an editor counts it (a CSV's header is row 1).
SCHEMA = {"file": pl.String, "row": pl.Int64, "column": pl.String, "value": pl.String, "reason": pl.String}
MAX_VALUE_LENGTH = 200  # characters of a bad value that are kept


class Rejects:
    """Collector of bad rows while files are read; one for each load."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, int, str, str | None, str]] = []
        self._frames: list[pl.DataFrame] = []
        self._counts: Counter[str] = Counter()
        self._tolerated: Counter[str] = Counter()

    def add(self, file: str, row: int, column: str, value: str | None, reason: str) -> None:
        """Add one bad row."""
        self._rows.append((file, row, column, None if value is None else value[:MAX_VALUE_LENGTH], reason))
        self._counts[file] += 1

    def add_frame(self, file: str, frame: pl.DataFrame, *, tolerated: bool = False) -> None:
        """Add bad rows of one file; `frame` has row, column, value and reason.

        Args:
            tolerated: Nothing is lost with these rows, so that any number of them is allowed.
        """
        if not frame.height:
            return
        named = frame.with_columns(
            pl.lit(file).alias("file"), pl.col("value").cast(pl.String).str.slice(0, MAX_VALUE_LENGTH)
        )
        self._frames.append(named.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items()))
        self._counts[file] += frame.height
        self._tolerated[file] += frame.height if tolerated else 0

    def count(self, file: str) -> int:
        """Return the number of bad rows of one file so far."""
        return self._counts[file]

    def __len__(self) -> int:
        return self._counts.total()

    def frame(self) -> pl.DataFrame:
        """Return all bad rows (file, row, column, value, reason), sorted by file and row."""
        rows = pl.DataFrame(self._rows, schema=SCHEMA, orient="row")
        return pl.concat([rows, *self._frames]).sort("file", "row", maintain_order=True)

    def refuse_too_many(self, rows_read: dict[str, int], max_share: float) -> None:
        """Raise DataError if more than `max_share` of any file's rows are bad.

        Args:
            rows_read: file → rows, bad ones included.
        """
        for file, rows in rows_read.items():
            n_bad = self.count(file) - self._tolerated[file]
            if rows and n_bad / rows > max_share:
                first = self.frame().filter(pl.col("file") == file).row(0, named=True)
                raise DataError(
                    f"{file}: {n_bad:,} of {rows:,} rows are unusable, more than [data] max_reject_share = "
                    f"{max_share:g} allows; the first is row {first['row']}, column {first['column']!r}, value "
                    f"{first['value']!r}: {first['reason']}. Run `retort data check` to see all kinds of them."
                )
