"""Exports of other systems: which of their files hold events and items."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from retort.shared.base.errors import DataError


@dataclass(frozen=True)
class Export:
    """An export's layout: patterns of its files, the first that fits is taken."""

    events: tuple[str, ...]
    items: tuple[str, ...]


EXPORTS: Mapping[str, Export] = {
    # `gorse dump` and the dashboard's CSV export
    "gorse": Export(("feedback.csv", "feedback*.csv", "feedback.jsonl"), ("items.csv", "items*.csv", "items.jsonl")),
    "movielens": Export(("ratings.csv", "ratings.dat", "u.data"), ("movies.csv", "movies.dat", "u.item")),
    "recbole": Export(("*.inter",), ("*.item",)),
    # data set groups of Amazon Personalize, as they were imported from S3
    "personalize": Export(("interactions*.csv", "Interactions*.csv"), ("items*.csv", "Items*.csv")),
}


def find_export(system: str, directory: Path) -> tuple[Path, Path | None]:
    """Return the files of events and, if there is one, of items.

    Raises:
        DataError: The system is unknown, or its files are not there.
    """
    if system not in EXPORTS:
        raise DataError(f"there is no layout {system!r}; known are: {', '.join(EXPORTS)}. Or use `retort quickstart`.")
    if not directory.is_dir():
        raise DataError(f"{directory} is no directory; name the one with the export's files.")
    export = EXPORTS[system]
    events, items = (_first(directory, patterns) for patterns in (export.events, export.items))
    if events is None:
        raise DataError(
            f"{directory} holds none of {', '.join(export.events)}; name the directory of the {system} export, or give "
            "its files to `retort quickstart`."
        )
    return events, items


def _first(directory: Path, patterns: tuple[str, ...]) -> Path | None:
    """Return the file that fits the first pattern that any file fits.

    Raises:
        DataError: Several files fit it, so that one would be chosen by chance.
    """
    for pattern in patterns:
        found = sorted(path for path in directory.glob(pattern) if path.is_file())
        if len(found) > 1:
            listed = ", ".join(path.name for path in found)
            raise DataError(f"{directory} holds several files that fit {pattern}: {listed}; move the others away.")
        if found:
            return found[0]
    return None
