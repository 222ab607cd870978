"""The cleaned tables, as the data step writes them and every later step reads them."""

import json
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from retort.offline.data.interactions import Interactions, Items, write_events
from retort.offline.data.rejects import SCHEMA
from retort.offline.data.report import DataReport
from retort.shared.base.errors import DataError

INTERACTIONS = "interactions.parquet"


@dataclass(frozen=True)
class Loaded:
    """Cleaned data.

    Attributes:
        users: user_id and further columns (such as subset flags); None: there is no users' table.
        rejects: file, row, column, value, reason of each bad row.
    """

    interactions: Interactions
    items: Items
    users: pl.DataFrame | None
    rejects: pl.DataFrame
    report: DataReport


def save_loaded(loaded: Loaded, directory: Path) -> None:
    """Write interactions.parquet, items.parquet, users.parquet (if any), rejects.csv and, last, report.json."""
    directory.mkdir(parents=True, exist_ok=True)
    if not loaded.interactions.is_stored_at(directory / INTERACTIONS):
        write_events(loaded.interactions.parts(), directory / INTERACTIONS)
    loaded.items.frame.write_parquet(directory / "items.parquet")
    if loaded.users is not None:
        loaded.users.write_parquet(directory / "users.parquet")
    loaded.rejects.write_csv(directory / "rejects.csv")
    report = json.dumps(loaded.report.as_json(), indent=2, ensure_ascii=False)
    (directory / "report.json").write_text(report + "\n", encoding="utf-8")


def load_saved(directory: Path) -> Loaded:
    """Read what `save_loaded` wrote.

    Raises:
        DataError: The directory is incomplete.
    """
    if not (directory / "report.json").is_file():
        raise DataError(f"{directory} contains no complete data (report.json is missing); run the data step again.")
    report = DataReport.from_json(json.loads((directory / "report.json").read_text(encoding="utf-8")))
    users = directory / "users.parquet"
    return Loaded(
        Interactions(directory / INTERACTIONS, report.clock),
        Items(pl.read_parquet(directory / "items.parquet")),
        pl.read_parquet(users) if users.is_file() else None,
        pl.read_csv(directory / "rejects.csv", schema=SCHEMA),
        report,
    )
