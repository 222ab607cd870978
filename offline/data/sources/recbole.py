"""RecBole's atomic files: tab-separated `.inter`, `.item`, `.user` with a typed header (`name:type`).

Format: https://recbole.io/docs/user_guide/data/atomic_files.html
"""

from pathlib import Path

import polars as pl
from pydantic import Field

from retort.offline.common.progress import Progress
from retort.offline.common.section import Section
from retort.offline.data.rejects import Rejects
from retort.offline.data.sources import RawTable, RawTables, TimeUnit
from retort.offline.data.sources._files import (
    ROWS_PER_FILE,
    find_file,
    find_optional_file,
    read_any,
    read_delimited,
    table,
)
from retort.shared.base.errors import DataError

TYPES = ("token", "token_seq", "float", "float_seq")


class Config(Section):
    """Options: files, and field names, by default those of RecBole's data sets."""

    interactions: str | list[str] | None = Field(
        None, description="`.inter` file, or several that are read as one log in this order; unset: the only one"
    )
    items: str | None = Field(None, description="`.item` file; unset: the one named as the `.inter`, or the only one")
    people: str | None = Field(None, description="`.user` file; unset: as for items")
    user_id: str = Field("user_id", description="user id field")
    item_id: str = Field("item_id", description="item id field")
    timestamp: str = Field("timestamp", description="time field; where it is missing, the order of the rows counts")
    weight: str | None = Field("rating", description="rating field, used where it exists")
    title: str | None = Field(
        None, description="title field; unset: `title`, `movie_title` or `name`, whichever exists"
    )
    time_unit: TimeUnit = Field("auto", description="unit of times; auto: recognised by magnitude")
    users: str | None = Field(None, description="further table of users (CSV, Parquet, JSON lines), for subset flags")
    users_columns: list[str] | None = Field(None, description="columns of that table; unset: all")
    sequence_separator: str = Field(" ", min_length=1, description="separator between the values of a `_seq` field")


TITLES = ("title", "movie_title", "name")


def files(config: Config, root: Path | None) -> dict[str, Path]:
    """Return the atomic files and the further table of users, where there are any."""
    events = _interactions(config, root)
    stem = events[0].name.partition(".")[0]
    found = {f"interactions {place}": path for place, path in enumerate(events)}
    others = {
        "items": _entities_file(root, "item", config.items, stem),
        "people": _entities_file(root, "user", config.people, stem),
        "users": find_file(root, config.users) if config.users else None,
    }
    return found | {role: path for role, path in others.items() if path}


def _interactions(config: Config, root: Path | None) -> list[Path]:
    names = [config.interactions] if isinstance(config.interactions, str) else config.interactions or ["*.inter"]
    return [find_file(root, name) for name in names]


def _entities_file(root: Path | None, kind: str, name: str | None, stem: str) -> Path | None:
    return find_file(root, name) if name else find_optional_file(root, f"{stem}.{kind}", f"*.{kind}")


def read(config: Config, root: Path | None, rejects: Rejects, progress: Progress) -> RawTables:
    """Read all three files of the directory; `.item` and `.user` may be missing.

    Raises:
        DataError: Several files of one kind fit, or the `.inter` contains sequences instead of events.
    """
    paths = _interactions(config, root)
    progress.say(f"reading {', '.join(path.name for path in paths)}")
    events, clocks = [], set()
    for place, path in enumerate(paths):
        table_, has_time = _events(path, config, rejects, place)
        events.append(table_)
        clocks.add(has_time)
    if len(clocks) > 1:
        raise DataError(
            f"only some of {', '.join(path.name for path in paths)} have a field {config.timestamp!r}; "
            "give all of them times, or none."
        )
    stem = paths[0].name.partition(".")[0]
    return RawTables(
        interactions=tuple(events),
        items=_entities(config, root, rejects, "item", config.items, stem),
        users=(
            *_entities(config, root, rejects, "user", config.people, stem),
            *_flags(config, root, rejects, progress),
        ),
        clock="time" if clocks == {True} else "position",
        time_unit=config.time_unit,
    )


def _events(path: Path, config: Config, rejects: Rejects, place: int) -> tuple[RawTable, bool]:
    """One file's events, and whether they have times; without, rows of later files follow those of earlier ones."""
    frame, kinds = _atomic(path, rejects)
    ids = (config.item_id, config.user_id)
    sequences = [f"{config.item_id}_list", *(name for name in ids if kinds.get(name, "").endswith("_seq"))]
    if sequence := next(filter(kinds.__contains__, sequences), None):
        raise DataError(
            f"{path.name} contains sequences ({sequence}:{kinds[sequence]}), one training example a row, instead of "
            "events; give the `.inter` from which they were made, with one event a row."
        )
    columns = {"user_id": config.user_id, "item_id": config.item_id}
    has_time = config.timestamp in kinds
    if has_time:
        columns["timestamp"] = config.timestamp
    if config.weight in kinds and config.weight is not None:
        columns["weight"] = config.weight
    events = table(path, frame, columns)
    if not has_time:
        order = pl.col("row").cast(pl.Int64) + place * ROWS_PER_FILE
        events = RawTable(events.file, events.frame.with_columns(timestamp=order), events.names)
    return events, has_time


def _entities(
    config: Config, root: Path | None, rejects: Rejects, kind: str, name: str | None, stem: str
) -> tuple[RawTable, ...]:
    path = _entities_file(root, kind, name, stem)
    if path is None:
        return ()
    frame, kinds = _atomic(path, rejects)
    columns = {f"{kind}_id": config.item_id if kind == "item" else config.user_id}
    title = config.title or next((name for name in TITLES if name in kinds), None)
    if kind == "item" and title:
        columns["title"] = title
    lists = {name: config.sequence_separator for name, type_ in kinds.items() if type_.endswith("_seq")}
    lists = {name: separator for name, separator in lists.items() if name not in columns.values()}
    return (table(path, frame, columns, lists, others=True),)


def _flags(config: Config, root: Path | None, rejects: Rejects, progress: Progress) -> tuple[RawTable, ...]:
    if config.users is None:
        return ()
    path = find_file(root, config.users)
    columns = {"user_id": config.user_id, **{name: name for name in config.users_columns or ()}}
    return (table(path, read_any(path, rejects, progress), columns, others=config.users_columns is None),)


def _atomic(path: Path, rejects: Rejects) -> tuple[pl.LazyFrame, dict[str, str]]:
    """The rows, and field name → type."""
    frame = read_delimited(path, rejects, separator="\t", quoted=False)
    headers = [name for name in frame.collect_schema().names() if name != "row"]
    kinds = {}
    for header in headers:
        name, _, kind = header.rpartition(":")
        if not name or kind not in TYPES:
            raise DataError(
                f"{path.name}, row 1: the field {header!r} is not `name:type` with a type among {', '.join(TYPES)}; "
                "correct the header."
            )
        kinds[name] = kind
    return frame.rename({header: header.rpartition(":")[0] for header in headers}), kinds
