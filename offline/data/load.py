"""The door: raw files in, checked tables out. `[data]` of a recipe is `DataConfig`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import Field

from retort.offline.common.plugins import load_plugin
from retort.offline.common.progress import Progress
from retort.offline.common.section import Section, parse_section
from retort.offline.data.catalogue import Entities, clean_entities, make_items, make_users
from retort.offline.data.events import Events, clean_events
from retort.offline.data.filters import Repeats, filter_events
from retort.offline.data.interactions import Interactions, Items
from retort.offline.data.rejects import SCHEMA, Rejects
from retort.offline.data.report import DataReport, make_report
from retort.offline.data.sources import RawTables
from retort.shared.base.errors import DataError

SOURCES = "retort.offline.data.sources"


class DataConfig(Section):
    """`[data]`: where events come from and which of them count. `[data.options]` belongs to the source."""

    source: str = Field("table", description="a file in offline/data/sources")
    options: dict[str, Any] = Field({}, description="the source's own options")
    k_core: int = Field(0, ge=0, description="least events of every user and item, repeated until it holds; 0: off")
    min_weight: float | None = Field(None, description="weaker events are left out; those of unknown weight stay")
    repeats: Repeats = Field(
        "exact", description="same user and item: drop `exact` doubles (same time), keep only `first` or `last`, or all"
    )
    max_reject_share: float = Field(0.01, ge=0, le=1, description="share of bad rows in a file that stops the run")
    text_columns: list[str] | None = Field(None, description="columns that make an item's text, in order; unset: all")
    text_template: str | None = Field(None, description='an item\'s text, as in "{title}. {plot}"; unset: text_columns')
    keep_unseen_items: bool = Field(False, description="keep items that no event names")


@dataclass(frozen=True)
class Loaded:
    """Cleaned data. users: user_id and its extra columns (subset flags), or None. rejects: file, row, column, ..."""

    interactions: Interactions
    items: Items
    users: pl.DataFrame | None
    rejects: pl.DataFrame
    report: DataReport


def load(config: DataConfig, root: Path | None, progress: Progress) -> Loaded:
    """Read, check, filter and sort. `root`: the directory of the raw files; None for made-up data.

    DataError: nothing usable, too many bad rows, mixed units of time, missing files or columns. RecipeError: options.
    """
    rejects = Rejects()
    tables = read_tables(config, root, rejects, progress)
    events = clean_events(tables, rejects)
    item_rows = clean_entities(tables.items, "item_id", rejects)
    user_rows = clean_entities(tables.users, "user_id", rejects)
    rows_read = all_rows(events, item_rows, user_rows)
    rejects.refuse_too_many(rows_read, config.max_reject_share)
    progress.say(f"read {events.frame.height:,} events, rejected {len(rejects):,} rows of {', '.join(rows_read)}")
    frame, removed = filter_events(
        events.frame, min_weight=config.min_weight, repeats=config.repeats, k_core=config.k_core
    )
    interactions = Interactions(frame, tables.clock)
    items, n_without = make_items(
        item_rows, frame["item_id"], config.text_columns, config.text_template, config.keep_unseen_items
    )
    users, n_idle = make_users(user_rows, frame["user_id"])
    report = make_report(
        config.source,
        interactions,
        items,
        users,
        rows_read=rows_read,
        rejects={file: rejects.count(file) for file in rows_read},
        removed=removed,
        items_without_metadata=n_without,
        users_without_history=n_idle,
        identical_items=0 if item_rows is None else item_rows.identical,
    )
    return Loaded(interactions, items, users, rejects.frame(), report)


def read_tables(config: DataConfig, root: Path | None, rejects: Rejects, progress: Progress) -> RawTables:
    """What the configured source reads."""
    source = load_plugin(SOURCES, config.source)
    options = parse_section(source.Config, config.options, "data.options")
    tables: RawTables = source.read(options, root, rejects, progress)
    return tables


def all_rows(events: Events, *entities: Entities | None) -> dict[str, int]:
    """File → rows read, bad ones included."""
    rows = dict(events.rows_read)
    for one in entities:
        rows.update(one.rows_read if one is not None else {})
    return rows


def save_loaded(loaded: Loaded, directory: Path) -> None:
    """Write interactions.parquet, items.parquet, users.parquet (if any), rejects.csv and, last, report.json."""
    directory.mkdir(parents=True, exist_ok=True)
    loaded.interactions.frame.write_parquet(directory / "interactions.parquet")
    loaded.items.frame.write_parquet(directory / "items.parquet")
    if loaded.users is not None:
        loaded.users.write_parquet(directory / "users.parquet")
    loaded.rejects.write_csv(directory / "rejects.csv")
    report = json.dumps(loaded.report.as_json(), indent=2, ensure_ascii=False)
    (directory / "report.json").write_text(report + "\n", encoding="utf-8")


def load_saved(directory: Path) -> Loaded:
    """Read what `save_loaded` wrote."""
    if not (directory / "report.json").is_file():
        raise DataError(f"{directory} holds no finished data (report.json is missing); run the data step again.")
    report = DataReport.from_json(json.loads((directory / "report.json").read_text(encoding="utf-8")))
    users = directory / "users.parquet"
    return Loaded(
        Interactions(pl.read_parquet(directory / "interactions.parquet"), report.clock),
        Items(pl.read_parquet(directory / "items.parquet")),
        pl.read_parquet(users) if users.is_file() else None,
        pl.read_csv(directory / "rejects.csv", schema=SCHEMA),
        report,
    )
