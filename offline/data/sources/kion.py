"""Kion: views of an online cinema in 2021, one date for each film and viewer.

https://github.com/irsafilo/KION_DATASET. The weight is the share watched, in percent (it may exceed 100).
"""

from pathlib import Path

from pydantic import Field

from retort.offline.common.progress import Progress
from retort.offline.common.section import Section
from retort.offline.data.rejects import Rejects
from retort.offline.data.sources import RawTable, RawTables
from retort.offline.data.sources._files import find_file, find_optional_file, read_delimited, table

# columns of items_en.csv and items.csv with several values
LISTS = ("genres", "countries", "studios", "directors", "actors", "keywords")


class Config(Section):
    """Options: the language of the catalogue."""

    english: bool = Field(True, description="true: read the English catalogue; false: the Russian one")


def files(config: Config, root: Path | None) -> dict[str, Path]:
    """Return interactions.csv and, where there are any, the catalogue and the users of the language."""
    found = {"interactions": find_file(root, "interactions.csv", "*/interactions.csv")}
    others = {name: _path(config, found["interactions"].parent, name) for name in ("items", "users")}
    return found | {name: path for name, path in others.items() if path}


def read(config: Config, root: Path | None, rejects: Rejects, progress: Progress) -> RawTables:
    """Read interactions.csv, items_en.csv (or items.csv) and users_en.csv (or users.csv)."""
    found = files(config, root)
    path, items, users = found["interactions"], found.get("items"), found.get("users")
    progress.say(f"reading {path}")
    columns = {"user_id": "user_id", "item_id": "item_id", "timestamp": "last_watch_dt", "weight": "watched_pct"}
    events = table(path, read_delimited(path, rejects), columns)
    return RawTables(
        (events,),
        items=(_films(items, rejects),) if items else (),
        users=(table(users, read_delimited(users, rejects), {"user_id": "user_id"}, others=True),) if users else (),
    )


def _path(config: Config, directory: Path, name: str) -> Path | None:
    names = (f"{name}_en.csv", f"{name}.csv")
    return find_optional_file(directory, *(names if config.english else reversed(names)))


def _films(path: Path, rejects: Rejects) -> RawTable:
    frame = read_delimited(path, rejects)
    names = frame.collect_schema().names()
    lists = {name: "," for name in LISTS if name in names}
    return table(path, frame, {"item_id": "item_id", "title": "title"}, lists, others=True)
