"""Data of the library: a log and an items' table, given as files or as frames of pandas, polars or Arrow."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retort.offline.library.frames import to_polars
from retort.offline.quickstart.recognised import Recognised, recognise
from retort.shared.base.disk import explained_full_disk
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
        events: Path of a file (.csv, .tsv, .parquet, .jsonl, also .gz), a frame of pandas, polars or Arrow, or a data
            set of RecTools or RePlay.
        items: A path or a frame, for the items' titles and attributes.
        user: Column of the user, if it is not recognised; so are `item` and `time`.

    Raises:
        DataError: A column cannot be recognised, or something is neither a path nor a frame.
    """
    names = {"user": user, "item": item, "time": time}
    log, table = _file(events, "events"), None if items is None else _file(items, "items")
    try:
        return Data(recognise(log, table, names))
    except DataError as error:
        raise DataError(_for_python(str(error), {log: events, **({table: items} if table else {})})) from None


def _for_python(sentence: str, given: dict[Path, Any]) -> str:
    """Return an error's sentence with the names that a user of the library knows."""
    for path, source in given.items():
        if not isinstance(source, str | os.PathLike):
            sentence = sentence.replace(path.name, path.name.partition("-")[0])
    return sentence.replace("--user and --item", "user= and item=")


def _file(given: Any, name: str) -> Path:
    """Return the path of a file; a frame is written to a Parquet file named by its content."""
    if isinstance(given, str | os.PathLike):
        return Path(given)
    frame = to_polars(given, name)
    if not frame.height:
        raise DataError(f"{name} has no rows; give a frame with rows.")
    folder = Settings().retort_home.absolute() / "frames"
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{name}.{os.getpid()}.partial"
    try:
        with explained_full_disk(folder):
            frame.write_parquet(partial)
            path = folder / f"{name}-{hash_file(partial)[:16]}.parquet"
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path
