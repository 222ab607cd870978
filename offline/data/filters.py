"""Event filters: weights, repeats, k-core and order, each counted."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from retort.offline.data.event_parts import EventPart
from retort.offline.data.interactions import Interactions
from retort.offline.data.k_core import CodedPart, Sizes, coded_parts, keep_k_core, sizes
from retort.offline.data.user_filters import EventSelection, RemovedEvents, UserRules, filter_users
from retort.shared.base.errors import DataError
from retort.shared.base.hashing import hash_json


def filter_parts(
    parts: list[EventPart], rules: UserRules, k_core: int, directory: Path | None = None
) -> tuple[Iterator[pl.DataFrame], RemovedEvents]:
    """Filter the events of all parts; each is then sorted by user, time and, for equal times, file order.

    Users are sampled among those that all other filters leave; k_core is then applied again.

    Args:
        parts: Events by ranges of users; the list is emptied, so that their memory is freed.
        rules: Filters of single users.
        k_core: Least events of every user and item.
        directory: Where the parts are kept between the filters; None: in memory.

    Raises:
        DataError: No event is left.
    """
    counts: Counter[str] = Counter()
    ordered: list[EventPart] = []
    codes = []
    kept_on_disk = directory if len(parts) > 1 else None
    while parts:
        frame, user_ids, item_ids = filter_users(parts.pop(0).read(), rules, counts)
        codes.append((user_ids, frame["_user"].to_numpy(), item_ids, frame["_item"].to_numpy()))
        frame = frame.drop("_user", "_item")
        where = kept_on_disk and kept_on_disk / f"part-{len(ordered)}.arrow"
        ordered.append(EventPart.stored(frame, where) if where else EventPart.of(frame))
    coded, n_items = coded_parts(codes)
    del codes
    stages = [sizes(coded, n_items)]
    n_rounds = keep_k_core(coded, n_items, k_core)
    stages.append(sizes(coded, n_items))
    if _sample_users(coded, rules.selection):
        stages.append(sizes(coded, n_items))
        n_rounds += keep_k_core(coded, n_items, k_core)
        stages.append(sizes(coded, n_items))
    removed = _removed(counts, stages, n_rounds)
    if not stages[-1].events:
        raise _nothing_left(counts["read"], removed, k_core)
    kept = ((part, of_part.kept) for part, of_part in zip(ordered, coded, strict=True) if of_part.kept.any())
    return (_kept(part.read(), mask) for part, mask in kept), removed


def _kept(frame: pl.DataFrame, mask: NDArray[np.bool_]) -> pl.DataFrame:
    return frame if mask.all() else frame.filter(pl.Series(mask))


def _removed(counts: Counter[str], stages: Sequence[Sizes], n_rounds: int) -> RemovedEvents:
    """Stages: before and after k-core, and again after the users were sampled."""
    pairs = list(zip(stages[::2], stages[1::2], strict=True))
    return RemovedEvents(
        below_min_weight=counts["weight"],
        repeats=counts["repeats"],
        k_core=sum(before.events - after.events for before, after in pairs),
        k_core_users=sum(before.users - after.users for before, after in pairs),
        k_core_items=sum(before.items - after.items for before, after in pairs),
        k_core_rounds=n_rounds,
        over_max_user_events=counts["newest"],
        robots=counts["robots"],
        robot_users=counts["robot_users"],
        outside_period=counts["period"],
        not_sampled=stages[1].events - stages[2].events if len(stages) > 2 else 0,
    )


def _nothing_left(n_read: int, removed: RemovedEvents, k_core: int) -> DataError:
    outside = f"{removed.outside_period:,} are outside [data] since and until, " if removed.outside_period else ""
    return DataError(
        f"none of {n_read:,} events is left: {outside}{removed.below_min_weight:,} are below [data] min_weight, "
        f"{removed.repeats:,} are repeats, {removed.robots:,} are of users over max_day_events, "
        f"{removed.k_core:,} are removed by k_core = {k_core}; relax these."
    )


def _sample_users(parts: Sequence[CodedPart], selection: EventSelection) -> bool:
    """Keep the users whose hashes are the smallest: a choice that does not depend on the order of the rows."""
    if selection.users is None:
        return False
    left = [part.user_ids.filter(pl.Series(part.user_counts() > 0)) for part in parts]
    users = pl.concat(left).to_list()
    if len(users) <= selection.users:
        return False
    chosen = sorted(users, key=lambda user_id: hash_json([selection.seed, user_id]))[: selection.users]
    for part in parts:
        part.kept &= part.user_ids.is_in(chosen).to_numpy()[part.users]
    return True


def share_of_repeated_last_events(interactions: Interactions) -> float:
    """Return the share of users whose last event is an item that they already had.

    Targets of this kind are certain misses where seen items are hidden.
    """
    n_repeated = n_users = 0
    for part in interactions.parts(["user_id", "item_id"]):
        users = part["user_id"]
        is_last = (users != users.shift(-1)).fill_null(True)
        pairs = users.hash(1) ^ part["item_id"].hash(2)
        n_repeated += int((pairs.is_duplicated() & is_last).sum())
        n_users += int(is_last.sum())
    return n_repeated / max(n_users, 1)


def share_of_largest_users(interactions: Interactions, n_users: int) -> tuple[float, int]:
    """Return the share of the events that the `n_users` users with the most events have, and the number of users."""
    counts = pl.concat([part["user_id"].value_counts()["count"] for part in interactions.parts(["user_id"])])
    return float(counts.top_k(n_users).sum() / max(int(counts.sum()), 1)), len(counts)
