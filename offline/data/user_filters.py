"""Filters that look at the events of one user at a time: period, weights, robots, repeats, newest; and the order."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from retort.offline.data.event_arrays import codes_of
from retort.offline.data.interactions import BELOW_MS

_DAY_MS = 86_400_000
Repeats = Literal["exact", "first", "last", "keep"]


@dataclass(frozen=True)
class RemovedEvents:
    """Numbers of removed events by cause, and of the rounds that k-core took."""

    below_min_weight: int
    repeats: int
    k_core: int
    k_core_users: int
    k_core_items: int
    k_core_rounds: int
    over_max_user_events: int = 0
    robots: int = 0
    robot_users: int = 0
    outside_period: int = 0
    not_sampled: int = 0


@dataclass(frozen=True)
class EventSelection:
    """The part of the data that a recipe uses.

    Attributes:
        since_ms: Events before this time are left out; None: off.
        until_ms: Events from this time on are left out; None: off.
        users: Number of random users that are kept; None: all.
        seed: Seed of their selection.
    """

    since_ms: int | None = None
    until_ms: int | None = None
    users: int | None = None
    seed: int = 0


EVERYTHING = EventSelection()


@dataclass(frozen=True)
class UserRules:
    """Filters that look at the events of one user at a time.

    Attributes:
        min_weight: Least weight; events of unknown weight are kept. None: off.
        repeats: Which repeated events to drop, see `[data] repeats`.
        max_user_events: Newest events of a user that are kept; None: all.
        max_day_events: Users with more events within one day (UTC) are removed; None: off.
        selection: Period and number of users.
    """

    min_weight: float | None
    repeats: Repeats
    max_user_events: int | None = None
    max_day_events: int | None = None
    selection: EventSelection = EVERYTHING


def filter_users(
    frame: pl.DataFrame, rules: UserRules, counts: Counter[str]
) -> tuple[pl.DataFrame, pl.Series, pl.Series]:
    """Filter the events of whole users, and sort them by user, time and, for equal times, file order.

    Args:
        frame: Events in file order.
        rules: What is kept.
        counts: Receives the number of events that each filter removes.

    Returns:
        The events with dense codes `_user` and `_item`, and the sorted user and item ids that the codes stand for.
    """
    counts["read"] += (n_before := frame.height)

    def note(cause: str, left: pl.DataFrame) -> pl.DataFrame:
        nonlocal n_before
        counts[cause] += n_before - left.height
        n_before = left.height
        return left

    frame = note("period", _in_period(frame, rules.selection))
    if rules.min_weight is not None:
        frame = frame.filter(pl.col("weight").is_null() | (pl.col("weight") >= rules.min_weight))
    frame, n_robots = _without_robots(note("weight", frame), rules.max_day_events)
    counts["robot_users"] += n_robots
    frame, user_ids, item_ids = _in_order(note("robots", frame))
    frame = note("repeats", _without_repeats(frame, rules.repeats))
    return note("newest", _newest(frame, rules.max_user_events)), user_ids, item_ids


def _in_period(frame: pl.DataFrame, selection: EventSelection) -> pl.DataFrame:
    if selection.since_ms is not None:
        frame = frame.filter(pl.col("timestamp") >= selection.since_ms)
    return frame if selection.until_ms is None else frame.filter(pl.col("timestamp") < selection.until_ms)


def _in_order(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series, pl.Series]:
    """Sort, with dense codes `_user` and `_item`: sorting integers is many times faster than sorting text."""
    ids = []
    for column, code in (("user_id", "_user"), ("item_id", "_item")):
        ids.append(frame[column].unique().sort())
        frame = frame.with_columns(pl.Series(code, codes_of(frame[column], ids[-1])))
    below = [BELOW_MS] if BELOW_MS in frame.columns else []
    return frame.sort("_user", "timestamp", *below, maintain_order=True), ids[0], ids[1]


def _without_repeats(frame: pl.DataFrame, policy: Repeats) -> pl.DataFrame:
    """Drop repeats. exact: one event for each user, item and time. first, last: one for each user and item.

    Times are compared with all their digits, also those below a millisecond. The frame is sorted by user and time.
    """
    below = [BELOW_MS] if BELOW_MS in frame.columns else []
    if policy == "exact":
        frame = _without_exact_repeats(frame, ["_user", "timestamp", *below])
    elif policy != "keep":
        pair = pl.col("_user").cast(pl.UInt64) * (1 << 32) + pl.col("_item")
        frame = frame.filter(pair.is_last_distinct() if policy == "last" else pair.is_first_distinct())
    return frame.drop(below)


def _without_exact_repeats(frame: pl.DataFrame, moment: list[str]) -> pl.DataFrame:
    """Only events of one user at one time are compared; they are neighbours, and few."""
    same = pl.all_horizontal(pl.col(moment) == pl.col(moment).shift(1)).fill_null(False)
    tied = frame.select(same | same.shift(-1).fill_null(False)).to_series()
    if not tied.any():
        return frame
    places = tied.arg_true()
    again = frame.select(pl.struct(*moment, "_item").gather(places)).to_series()
    kept = np.ones(frame.height, dtype=bool)
    kept[places.to_numpy()] = again.is_first_distinct().to_numpy()
    return frame.filter(pl.Series(kept))


def _without_robots(frame: pl.DataFrame, max_day_events: int | None) -> tuple[pl.DataFrame, int]:
    """Remove users with too many events on one day, as robots have; returns the rest and the number of such users."""
    if max_day_events is None:
        return frame, 0
    days = frame.group_by("user_id", pl.col("timestamp") // _DAY_MS).len()
    robots = days.filter(pl.col("len") > max_day_events).select("user_id").unique()
    return frame.join(robots, on="user_id", how="anti", maintain_order="left"), robots.height


def _newest(frame: pl.DataFrame, n_events: int | None) -> pl.DataFrame:
    """Keep the newest events of each user; the frame is sorted by user and time."""
    if n_events is None or not frame.height:
        return frame
    users = frame["_user"].to_numpy()
    ends = np.searchsorted(users, users, side="right")
    return frame.filter(pl.Series(ends - np.arange(len(users)) <= n_events))
