"""Data of the library: a log and an items' table, given as files or as frames of pandas, polars or Arrow."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from retort.offline.quickstart.recognised import Recognised, recognise
from retort.shared.base.errors import DataError
from retort.shared.base.hashing import hash_file
from retort.shared.base.settings import Settings


@dataclass(frozen=True)
class Data:
    """A recognised log, perhaps with an items' table. `print(data)` shows what each column was taken for."""

    recognised: Recognised

    def __str__(self) -> str:
        return "\n".join(self.recognised.lines())

    @property
    def directory(self) -> Path:
        """Directory of the log's file."""
        return self.recognised.events.path.absolute().parent


def read(
    events: Any, items: Any = None, *, user: str | None = None, item: str | None = None, time: str | None = None
) -> Data:
    """Recognise a log and an items' table.

    Args:
        events: Path of a file (.csv, .tsv, .parquet, .jsonl, also .gz), or a frame of pandas, polars or Arrow.
        items: The same, for the items' titles and attributes.
        user: Column of the user, if it is not recognised; so are `item` and `time`.

    Raises:
        DataError: A column cannot be recognised, or something is neither a path nor a frame.
    """
    names = {"user": user, "item": item, "time": time}
    return Data(recognise(_file(events, "events"), None if items is None else _file(items, "items"), names))


def _file(given: Any, name: str) -> Path:
    """Return the path of a file; a frame is written to a Parquet file named by its content."""
    if isinstance(given, str | os.PathLike):
        return Path(given)
    frame = _frame(given, name)
    folder = Settings().retort_home.absolute() / "frames"
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{name}.{os.getpid()}.partial"
    frame.write_parquet(partial)
    path = folder / f"{name}-{hash_file(partial)[:16]}.parquet"
    os.replace(partial, path)
    return path


def _frame(given: Any, name: str) -> pl.DataFrame:
    if isinstance(given, pl.LazyFrame):
        return given.collect()
    if hasattr(given, "__arrow_c_stream__"):  # polars, pandas, Arrow, DuckDB and others
        return pl.DataFrame(given)
    raise DataError(
        f"{name} is a {type(given).__name__}; give a path, or a frame of pandas, polars or Arrow (convert "
        "others with to_pandas())."
    )
