"""Data check (`retort data check`): all problems of raw data by file, row and column, found before a run."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import polars as pl

from retort.offline.common.progress import Progress, Silent
from retort.offline.data.catalogue import Entities, clean_entities, make_items, make_users
from retort.offline.data.event_parts import read_parts
from retort.offline.data.events import EventReader
from retort.offline.data.filters import filter_parts
from retort.offline.data.interactions import Interactions
from retort.offline.data.load import DataConfig, advise, all_rows, read_tables, user_rules
from retort.offline.data.rejects import Rejects
from retort.offline.data.user_filters import RemovedEvents
from retort.shared.base.errors import RetortError

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """A finding. error: the run would stop; warning: a row or value is not used; note: useful to know."""

    severity: Severity
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
    """Find all problems, errors first; without errors and warnings, every row of every file is used."""
    rejects = Rejects()
    findings: list[Finding] = []
    try:
        for finding in _judge(config, root, rejects, progress or Silent()):
            findings.append(finding)  # one by one: what was found before an error stays
    except RetortError as error:
        # raised last, but sorted first for the reader
        findings.append(Finding("error", str(error)))
    findings += [Finding("warning", row.pop("reason"), **row) for row in rejects.frame().iter_rows(named=True)]
    order = {"error": 0, "warning": 1, "note": 2}
    return sorted(findings, key=lambda finding: order[finding.severity])


def summarise(findings: Sequence[Finding], max_lines: int) -> list[str]:
    """Return a line for each kind of finding, with its first example and the number of others."""
    kinds: dict[tuple[str | None, ...], list[Finding]] = {}
    for finding in findings:
        # messages of errors and notes are single; those of rows differ by file, column and reason
        reason = re.sub(r"\d+", "#", finding.message)
        kinds.setdefault((finding.severity, finding.file, finding.column, reason), []).append(finding)
    lines = [str(some[0]) + (f" (and {len(some) - 1:,} rows more)" if len(some) > 1 else "") for some in kinds.values()]
    if len(lines) > max_lines:
        lines[max_lines - 1 :] = [f"… and {len(lines) - max_lines + 1:,} more kinds of findings"]
    return lines


def count_sentence(findings: Sequence[Finding]) -> str:
    """Count by severity, as in "no errors, 2 warnings, 1 note"."""
    counts = Counter(finding.severity for finding in findings)
    return ", ".join(f"{counts[name] or 'no'} {name}{'s' * (counts[name] != 1)}" for name in get_args(Severity))


def _judge(config: DataConfig, root: Path | None, rejects: Rejects, progress: Progress) -> Iterator[Finding]:
    tables = read_tables(config, root, rejects, progress)
    reader = EventReader(tables, rejects)
    events = read_parts(reader, None)
    item_rows = clean_entities(tables.items, "item_id", rejects)
    user_rows = clean_entities(tables.users, "user_id", rejects)
    try:
        rejects.refuse_too_many(all_rows(reader.rows_read, item_rows, user_rows), config.max_reject_share)
    except RetortError as error:
        yield Finding("error", str(error))
    parts, removed = filter_parts(events, user_rules(config, tables.clock), config.k_core)
    frame = pl.concat(list(parts))
    yield from _removed(removed)
    yield from (Finding("note", advice) for advice in advise(Interactions(frame, tables.clock)))
    # the files' own names of the columns
    item_column, user_column = (tables.interactions[0].name(name) for name in ("item_id", "user_id"))
    yield from _about_items(config, item_rows, frame, item_column)
    yield from _about_users(user_rows, frame, user_column)


def _removed(removed: RemovedEvents) -> Iterator[Finding]:
    causes = {
        "are outside [data] since and until": removed.outside_period,
        "are below [data] min_weight": removed.below_min_weight,
        "are repeats under [data] repeats": removed.repeats,
        f"are of {removed.robot_users:,} users with more than [data] max_day_events on a day": removed.robots,
        "are older than the newest [data] max_user_events of their user": removed.over_max_user_events,
        f"fail k_core (with {removed.k_core_users:,} users and {removed.k_core_items:,} items)": removed.k_core,
        "belong to users who are not among [data] sample_users": removed.not_sampled,
    }
    for cause, n_events in causes.items():
        if n_events:
            yield Finding("note", f"{n_events:,} events {cause}")


def _about_items(config: DataConfig, rows: Entities | None, frame: pl.DataFrame, column: str) -> Iterator[Finding]:
    if rows is None:
        yield Finding(
            "note", "there is no table of items: titles and texts are empty, and methods that use texts learn nothing"
        )
        return
    items, n_missing = make_items(
        rows, frame["item_id"], config.text_columns, config.text_template, config.keep_unseen_items
    )
    if n_missing:
        yield _ids_finding(frame, rows.frame, ("item_id", column), n_missing, "items have events but no metadata")
    without_text = items.frame.filter(pl.col("text") == "")["item_id"]
    if len(without_text) > n_missing:
        yield Finding("note", f"{len(without_text) - n_missing:,} items have metadata but no text", column=column)
    if rows.identical:
        yield Finding("note", f"{rows.identical:,} rows of the items' table repeat another row")


def _about_users(rows: Entities | None, frame: pl.DataFrame, column: str) -> Iterator[Finding]:
    if rows is None:
        return
    _, n_without_events = make_users(rows, frame["user_id"])
    if n_without_events:
        yield Finding(
            "note", f"{n_without_events:,} users of the users' table have no event and are not used", column=column
        )
    ids = frame.select(pl.col("user_id").unique())
    n_missing = ids.join(rows.frame, on="user_id", how="anti").height
    if n_missing:
        what = "users have events but no row in the users' table"
        yield _ids_finding(frame, rows.frame, ("user_id", column), n_missing, what)


def _ids_finding(
    frame: pl.DataFrame, known: pl.DataFrame, names: tuple[str, str], n_missing: int, what: str
) -> Finding:
    column, file_column = names
    missing = frame.join(known, on=column, how="anti")[column].unique(maintain_order=True)
    examples = ", ".join(missing.head(5).to_list())
    return Finding("note", f"{n_missing:,} {what}, like {examples}", column=file_column)
