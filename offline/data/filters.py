"""Event filters: weights, repeats, k-core and order, each counted."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from retort.offline.data.interactions import BELOW_MS
from retort.offline.data.ragged import IntArray
from retort.shared.base.errors import DataError
from retort.shared.base.hashing import hash_json

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


_EVERYTHING = EventSelection()


def filter_events(
    frame: pl.DataFrame,
    *,
    min_weight: float | None,
    repeats: Repeats,
    k_core: int,
    max_user_events: int | None = None,
    max_day_events: int | None = None,
    selection: EventSelection = _EVERYTHING,
) -> tuple[pl.DataFrame, RemovedEvents]:
    """Filter events and sort them by user, time and, for equal times, file order.

    Users are sampled among those that all other filters leave; k_core is then applied again.

    Args:
        min_weight: Least weight; events of unknown weight are kept. None: off.
        repeats: Which repeated events to drop, see `[data] repeats`.
        max_user_events: Newest events of a user that are kept; None: all.
        max_day_events: Users with more events within one day (UTC) are removed; None: off.
        k_core: Least events of every user and item.
        selection: Period and number of users.

    Raises:
        DataError: No event is left.
    """
    n_read = frame.height
    frame = _in_period(frame, selection)
    n_in_period = frame.height
    if min_weight is not None:
        frame = frame.filter(pl.col("weight").is_null() | (pl.col("weight") >= min_weight))
    n_weighted = frame.height
    frame, n_robots = _without_robots(frame, max_day_events)
    n_without_robots = frame.height
    ordered = _without_repeats(_in_order(frame), repeats)
    n_without_repeats = ordered.height
    ordered = _newest(ordered, max_user_events)
    cored, n_rounds = _k_core(ordered, k_core)
    left = sampled = _sample_users(cored, selection)
    if sampled.height < cored.height:
        left, more_rounds = _k_core(sampled, k_core)
        n_rounds += more_rounds
    stages = (ordered, cored), (sampled, left)
    removed = RemovedEvents(
        below_min_weight=n_in_period - n_weighted,
        repeats=n_without_robots - n_without_repeats,
        k_core=sum(before.height - after.height for before, after in stages),
        k_core_users=sum(before["_user"].n_unique() - after["_user"].n_unique() for before, after in stages),
        k_core_items=sum(before["_item"].n_unique() - after["_item"].n_unique() for before, after in stages),
        k_core_rounds=n_rounds,
        over_max_user_events=n_without_repeats - ordered.height,
        robots=n_weighted - n_without_robots,
        robot_users=n_robots,
        outside_period=n_read - n_in_period,
        not_sampled=cored.height - sampled.height,
    )
    if not left.height:
        outside = f"{removed.outside_period:,} are outside [data] since and until, " if removed.outside_period else ""
        raise DataError(
            f"none of {n_read:,} events is left: {outside}{removed.below_min_weight:,} are below [data] min_weight, "
            f"{removed.repeats:,} are repeats, {removed.robots:,} are of users over max_day_events, "
            f"{removed.k_core:,} are removed by k_core = {k_core}; relax these."
        )
    return left.drop("_user", "_item"), removed


def _in_period(frame: pl.DataFrame, selection: EventSelection) -> pl.DataFrame:
    if selection.since_ms is not None:
        frame = frame.filter(pl.col("timestamp") >= selection.since_ms)
    return frame if selection.until_ms is None else frame.filter(pl.col("timestamp") < selection.until_ms)


def _sample_users(frame: pl.DataFrame, selection: EventSelection) -> pl.DataFrame:
    """Keep the users whose hashes are the smallest: a choice that does not depend on the order of the rows."""
    users = frame["user_id"].unique().to_list()
    if selection.users is None or len(users) <= selection.users:
        return frame
    kept = sorted(users, key=lambda user_id: hash_json([selection.seed, user_id]))[: selection.users]
    return frame.filter(pl.col("user_id").is_in(kept))


def _k_core(frame: pl.DataFrame, k: int) -> tuple[pl.DataFrame, int]:
    kept, n_rounds = k_core_mask(frame["_user"].to_numpy(), frame["_item"].to_numpy(), k)
    return frame.filter(pl.Series(kept)), n_rounds


def _in_order(frame: pl.DataFrame) -> pl.DataFrame:
    """Sort, with dense codes `_user` and `_item`: sorting integers is many times faster than sorting text."""
    for column, code in (("user_id", "_user"), ("item_id", "_item")):
        codes = pl.DataFrame({column: frame[column].unique().sort()}).with_row_index(code)
        frame = frame.join(codes, on=column, how="left", maintain_order="left")
    if BELOW_MS in frame.columns:
        return frame.sort("_user", "timestamp", BELOW_MS, maintain_order=True)
    return frame.sort("_user", "timestamp", maintain_order=True)


def _without_repeats(frame: pl.DataFrame, policy: Repeats) -> pl.DataFrame:
    """Drop repeats. exact: one event for each user, item and time. first, last: one for each user and item.

    Times are compared with all their digits, also those below a millisecond.
    """
    below = [BELOW_MS] if BELOW_MS in frame.columns else []
    if policy != "keep":
        same = ["_user", "_item", "timestamp", *below] if policy == "exact" else ["_user", "_item"]
        frame = frame.unique(same, keep="last" if policy == "last" else "first", maintain_order=True)
    return frame.drop(below)


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


def share_of_repeated_last_events(frame: pl.DataFrame) -> float:
    """Return the share of users whose last event is an item that they already had; `frame` is sorted by user and time.

    Targets of this kind are certain misses where seen items are hidden.
    """
    users = frame["user_id"]
    is_last = (users != users.shift(-1)).fill_null(True)
    pairs = users.hash(1) ^ frame["item_id"].hash(2)
    return float((pairs.is_duplicated() & is_last).sum() / max(int(is_last.sum()), 1))


def share_of_largest_users(frame: pl.DataFrame, n_users: int) -> float:
    """Return the share of the events that the users with the most events have."""
    counts = frame["user_id"].value_counts()["count"].top_k(n_users)
    return float(counts.sum() / max(frame.height, 1))


def k_core_mask(users: IntArray, items: IntArray, k: int) -> tuple[NDArray[np.bool_], int]:
    """Mark the events left when every user and item has at least k of them.

    Returns:
        The mask (E,), and the number of rounds until nothing changed.
    """
    kept = np.ones(len(users), dtype=bool)
    if k <= 1 or not len(users):
        return kept, 0
    n_rounds = 0
    while True:
        n_rounds += 1
        enough_users = np.bincount(users[kept], minlength=int(users.max()) + 1) >= k
        enough_items = np.bincount(items[kept], minlength=int(items.max()) + 1) >= k
        left = kept & enough_users[users] & enough_items[items]
        if left.sum() == kept.sum():
            return kept, n_rounds
        kept = left
