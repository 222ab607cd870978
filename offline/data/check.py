"""Data check (`retort data check`): all problems of raw data by file, row and column, found before a run."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from retort.offline.common.progress import Progress, Silent
from retort.offline.data.catalogue import Entities, clean_entities, make_items, make_users
from retort.offline.data.events import clean_events
from retort.offline.data.filters import RemovedEvents, filter_events
from retort.offline.data.load import DataConfig, all_rows, read_tables
from retort.offline.data.rejects import Rejects
from retort.shared.base.errors import RetortError


@dataclass(frozen=True)
class Finding:
    """A finding. error: the run would stop; warning: a row or value is not used; note: useful to know."""

    severity: Literal["error", "warning", "note"]
    message: str
    file: str | None = None
    row: int | None = None
    column: str | None = None
    value: str | None = None

    def __str__(self) -> str:
        """Format as `ratings.csv, row 7, column 'ts', value 'abc': not a time`."""
        column = f"column {self.column!r}" if self.column else None
        value = f"value {self.value!r}" if self.value is not None else None
        row = f"row {self.row}" if self.row is not None else None
        place = ", ".join(part for part in (self.file, row, column, value) if part)
        return f"{place}: {self.message}" if place else self.message


def find_problems(config: DataConfig, root: Path | None, progress: Progress | None = None) -> list[Finding]:
    """Find all problems, errors first; an empty list means that every row of every file is used."""
    rejects = Rejects()
    findings: list[Finding] = []
    try:
        findings = list(_judge(config, root, rejects, progress or Silent()))
    except RetortError as error:
        # raised last, but sorted first for the reader
        findings.append(Finding("error", str(error)))
    findings += [Finding("warning", row.pop("reason"), **row) for row in rejects.frame().iter_rows(named=True)]
    order = {"error": 0, "warning": 1, "note": 2}
    return sorted(findings, key=lambda finding: order[finding.severity])


def _judge(config: DataConfig, root: Path | None, rejects: Rejects, progress: Progress) -> Iterator[Finding]:
    tables = read_tables(config, root, rejects, progress)
    events = clean_events(tables, rejects)
    item_rows = clean_entities(tables.items, "item_id", rejects)
    user_rows = clean_entities(tables.users, "user_id", rejects)
    try:
        rejects.refuse_too_many(all_rows(events, item_rows, user_rows), config.max_reject_share)
    except RetortError as error:
        yield Finding("error", str(error))
    frame, removed = filter_events(
        events.frame, min_weight=config.min_weight, repeats=config.repeats, k_core=config.k_core
    )
    yield from _removed(removed)
    yield from _about_items(config, item_rows, frame)
    yield from _about_users(user_rows, frame)


def _removed(removed: RemovedEvents) -> Iterator[Finding]:
    causes = {
        "are below [data] min_weight": removed.below_min_weight,
        "are repeats under [data] repeats": removed.repeats,
        f"fail k_core (with {removed.k_core_users:,} users and {removed.k_core_items:,} items)": removed.k_core,
    }
    for cause, n_events in causes.items():
        if n_events:
            yield Finding("note", f"{n_events:,} events {cause}")


def _about_items(config: DataConfig, rows: Entities | None, frame: pl.DataFrame) -> Iterator[Finding]:
    if rows is None:
        yield Finding(
            "note", "there is no table of items: titles and texts are empty, and methods that use texts learn nothing"
        )
        return
    items, n_missing = make_items(
        rows, frame["item_id"], config.text_columns, config.text_template, config.keep_unseen_items
    )
    if n_missing:
        yield _ids_finding(frame, rows.frame, "item_id", n_missing, "items have events but no metadata")
    without_text = items.frame.filter(pl.col("text") == "")["item_id"]
    if len(without_text) > n_missing:
        yield Finding("note", f"{len(without_text) - n_missing:,} items have metadata but no text", column="item_id")
    if rows.identical:
        yield Finding("note", f"{rows.identical:,} rows of the items' table repeat another row")


def _about_users(rows: Entities | None, frame: pl.DataFrame) -> Iterator[Finding]:
    if rows is None:
        return
    _, n_without_events = make_users(rows, frame["user_id"])
    if n_without_events:
        yield Finding(
            "note", f"{n_without_events:,} users of the users' table have no event and are not used", column="user_id"
        )
    ids = frame.select(pl.col("user_id").unique())
    n_missing = ids.join(rows.frame, on="user_id", how="anti").height
    if n_missing:
        yield _ids_finding(frame, rows.frame, "user_id", n_missing, "users have events but no row in the users' table")


def _ids_finding(frame: pl.DataFrame, known: pl.DataFrame, column: str, n_missing: int, what: str) -> Finding:
    missing = frame.join(known, on=column, how="anti")[column].unique(maintain_order=True)
    examples = ", ".join(missing.head(5).to_list())
    return Finding("note", f"{n_missing:,} {what}, like {examples}", column=column)
