"""Data loading: raw files in, checked tables out; the recipe's `[data]` is `DataConfig`."""

import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Self

import polars as pl
from pydantic import Field, field_validator, model_validator

from retort.offline.common.plugins import load_plugin
from retort.offline.common.progress import Progress
from retort.offline.common.section import MAX_SEED, Section, parse_section
from retort.offline.data.catalogue import Entities, clean_entities, make_items, make_users
from retort.offline.data.event_parts import read_parts
from retort.offline.data.events import EventReader
from retort.offline.data.filters import filter_parts, share_of_largest_users, share_of_repeated_last_events
from retort.offline.data.interactions import Clock, Interactions, write_events
from retort.offline.data.rejects import Rejects
from retort.offline.data.report import make_report
from retort.offline.data.sources import RawTables
from retort.offline.data.tables import INTERACTIONS, Loaded
from retort.offline.data.user_filters import EventSelection, Repeats, UserRules
from retort.shared.base.errors import DataError

SOURCES = "retort.offline.data.sources"
REPEATED_SHARE = 0.05  # of users, whose last event is a repeat: from here on it is reported
LARGEST_USERS = 3
LARGEST_SHARE = 0.1  # of the events, in the hands of the largest users: from here on it is reported
_PARTS = "parts"  # folder of the parts while they are filtered


class DataConfig(Section):
    """Recipe section `[data]`: where events come from and which are used; `[data.options]` are the source's."""

    source: str = Field("table", description="name of a module in offline/data/sources")
    options: dict[str, Any] = Field({}, description="the source's own options")
    k_core: int = Field(0, ge=0, description="least events of every user and item, applied until it holds; 0: off")
    min_weight: float | None = Field(
        None, description="events of a lower weight are removed; those of unknown weight are kept"
    )
    repeats: Repeats = Field(
        "exact",
        description="same user and item: drop `exact` duplicates (same time), keep only `first` or `last`, or all",
    )
    max_user_events: int | None = Field(
        None, ge=2, description="newest events of a user that are used; unset: all. For robots and shared accounts"
    )
    max_day_events: int | None = Field(
        None,
        ge=2,
        description="users with more events within one day are robots and are left out; unset: none. Needs clock times",
    )
    since: str | None = Field(None, description="events before this date or time (UTC) are left out: 2019-01-01")
    until: str | None = Field(None, description="events from this date or time (UTC) on are left out")
    sample_users: int | None = Field(
        None, ge=1, description="number of random users that are used, of those that the filters leave; unset: all"
    )
    sample_seed: int = Field(0, ge=0, le=MAX_SEED, description="seed of sample_users")
    max_reject_share: float = Field(
        0.01, ge=0, le=1, description="share of bad rows in a file above which the run stops"
    )
    text_columns: list[str] | None = Field(None, description="columns of an item's text, in order; unset: all")
    text_template: str | None = Field(None, description='an item\'s text, as in "{title}. {plot}"; unset: text_columns')
    keep_unseen_items: bool = Field(False, description="keep items without events")

    @field_validator("since", "until", mode="before")
    @classmethod
    def _read_date(cls, value: Any) -> Any:
        """Accept TOML's dates too, and refuse what is none."""
        text = value.isoformat() if isinstance(value, date) else value
        if isinstance(text, str):
            _milliseconds(text)
        return text

    @model_validator(mode="after")
    def _refuse_empty_period(self) -> Self:
        if self.since and self.until and _milliseconds(self.since) >= _milliseconds(self.until):
            raise ValueError(f"until = {self.until} is not after since = {self.since}; change one of them")
        return self

    def selection(self, clock: Clock) -> EventSelection:
        """Return the part of the data that is used.

        Raises:
            DataError: A period is given, but the data have positions instead of times.
        """
        if clock != "time" and (self.since or self.until):
            raise DataError("[data] since and until require times, but these data have positions only; remove them.")
        since, until = (None if value is None else _milliseconds(value) for value in (self.since, self.until))
        return EventSelection(since, until, self.sample_users, self.sample_seed)


def _milliseconds(text: str) -> int:
    """Milliseconds since 1970 of a date or a time, which is UTC where it names no zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no date; write it as 2019-01-01 or 2019-01-01T12:00:00") from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def load_data(config: DataConfig, root: Path | None, progress: Progress, work: Path | None = None) -> Loaded:
    """Read, check, filter and sort the data.

    Args:
        root: Directory of the raw files; None for synthetic data.
        work: Directory in which more events than fit in memory are filtered in parts; None: all are held in memory.

    Raises:
        DataError: Nothing usable, too many bad rows, mixed units of time, missing files or columns.
        RecipeError: The source's options are invalid.
    """
    rejects = Rejects()
    tables = read_tables(config, root, rejects, progress)
    reader = EventReader(tables, rejects)
    events = read_parts(reader, None if work is None else work / _PARTS)
    item_rows = clean_entities(tables.items, "item_id", rejects)
    user_rows = clean_entities(tables.users, "user_id", rejects)
    rows_read = all_rows(reader.rows_read, item_rows, user_rows)
    rejects.refuse_too_many(rows_read, config.max_reject_share)
    progress.say(f"read {reader.n_events:,} events, rejected {len(rejects):,} rows of {', '.join(rows_read)}")
    n_parts = len(events)
    filtered, removed = filter_parts(events, user_rules(config, tables.clock), config.k_core, work and work / _PARTS)
    interactions = _stored(filtered, n_parts, tables.clock, work)
    for advice in advise(interactions):
        progress.say(advice)
    items, n_items_without = make_items(
        item_rows, interactions.ids("item_id"), config.text_columns, config.text_template, config.keep_unseen_items
    )
    users, n_users_without = make_users(user_rows, interactions.ids("user_id"))
    report = make_report(
        config.source,
        interactions,
        items,
        users,
        rows_read=rows_read,
        rejects={file: rejects.count(file) for file in rows_read},
        removed=removed,
        items_without_metadata=n_items_without,
        users_without_history=n_users_without,
        identical_items=0 if item_rows is None else item_rows.identical,
    )
    return Loaded(interactions, items, users, rejects.frame(), report)


def _stored(events: Iterator[pl.DataFrame], n_parts: int, clock: Clock, work: Path | None) -> Interactions:
    """The filtered events: in memory if they are one part, else in a file."""
    if n_parts == 1 or work is None:
        return Interactions(pl.concat(list(events)), clock)
    write_events(events, work / INTERACTIONS)
    shutil.rmtree(work / _PARTS)
    return Interactions(work / INTERACTIONS, clock)


def user_rules(config: DataConfig, clock: Clock) -> UserRules:
    """Return the filters of single users; positions have no days."""
    max_day_events = config.max_day_events if clock == "time" else None
    return UserRules(config.min_weight, config.repeats, config.max_user_events, max_day_events, config.selection(clock))


def advise(interactions: Interactions) -> list[str]:
    """Return recommendations for data whose evaluation would mislead: repeated targets, and a few very large users."""
    advice = []
    if (share := share_of_repeated_last_events(interactions)) >= REPEATED_SHARE:
        advice.append(
            f"{share:.0%} of the users' last events are items that they already had; evaluation.hide_seen = true hides "
            "them, so they are certain misses: set [evaluation] hide_seen = false to recommend items again, or [data] "
            'repeats = "first" to learn from first choices only'
        )
    large, n_users = share_of_largest_users(interactions, LARGEST_USERS)
    if n_users >= LARGEST_USERS / LARGEST_SHARE * 2 and large >= LARGEST_SHARE:
        advice.append(
            f"{LARGEST_USERS} users have {large:.0%} of the events, as robots and shared accounts do; cap them with "
            "[data] max_user_events"
        )
    return advice


def read_tables(config: DataConfig, root: Path | None, rejects: Rejects, progress: Progress) -> RawTables:
    """Read the raw tables with the configured source."""
    source = load_plugin(SOURCES, config.source)
    options = parse_section(source.Config, config.options, "data.options")
    tables: RawTables = source.read(options, root, rejects, progress)
    return tables


def all_rows(events: Mapping[str, int], *entities: Entities | None) -> dict[str, int]:
    """Return file → rows read, rejected ones included.

    Args:
        events: The same for the files of events.
    """
    rows = dict(events)
    for each in entities:
        rows.update(each.rows_read if each is not None else {})
    return rows
