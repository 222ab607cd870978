"""Splits: which events are trained on, and which are evaluation cases; later steps see `Split.train` only.

Time splits follow "Time to Split: Exploring Data Splitting Strategies for Offline Evaluation of Sequential
Recommenders", RecSys 2025 (global cut at a quantile; last, successive or random target), with two differences: by
default a user needs one earlier event, not two, and cold targets may stay in as certain misses.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from pydantic import Field

from retort.offline.common.section import MAX_SEED, Section
from retort.offline.data.event_arrays import (
    EventArrays,
    count_items,
    event_arrays,
    histories_before,
    indexes_before,
)
from retort.offline.data.interactions import Interactions
from retort.offline.data.ragged import ArrayStore, IntArray, Ragged
from retort.shared.base.errors import DataError
from retort.shared.model.item_index import ItemIndex

# held: validation events are not trained on. refit: they are, and only the test is evaluated.
Protocol = Literal["held", "refit"]

MAX_HISTORY_VALUES = 500_000_000  # 4 GB of histories; larger ones, from successive targets, require max_history


@dataclass(frozen=True)
class Cases:
    """Evaluation cases: after `histories[i]`, which item does user `users[i]` choose?

    Attributes:
        users: user_index of each case.
        histories: Item indexes, oldest first; items unknown to train are left out.
        targets: item_index, or PAD where train does not contain the item: a certain miss that still counts.
    """

    users: IntArray
    histories: Ragged
    targets: IntArray

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: IntArray) -> "Cases":
        """Return some of the cases."""
        return Cases(self.users[rows], self.histories.take(rows), self.targets[rows])


@dataclass(frozen=True)
class Split:
    """A split of the interactions.

    Attributes:
        user_ids: External id of user_index 0 … n_users - 1.
        item_index: The items of train only, most popular first, equally popular ones by id.
        train: One row for each user (may be empty): always the user's oldest events.
        validation: None under `refit`.
    """

    protocol: Protocol
    user_ids: tuple[str, ...]
    item_index: ItemIndex
    train: Ragged
    validation: Cases | None
    test: Cases


class SplitConfig(Section):
    """Recipe section `[split]`: how the interactions are divided. The run chooses the protocol (held, refit)."""

    method: Literal["leave_one_out", "global_time"] = Field(
        "leave_one_out", description="leave_one_out: each user's last events; global_time: one time for all users"
    )
    min_history: int = Field(1, ge=1, description="least events of a user before a target")
    cold_items: Literal["keep", "remove"] = Field(
        "keep", description="targets unseen in train: keep as certain misses, or remove"
    )
    max_history: int | None = Field(None, ge=1, description="latest events of a case's history; unset: all")
    train_share: float = Field(
        1.0,
        gt=0,
        le=1,
        description="oldest share of each user's train events to train on; evaluation cases do not change",
    )
    quantile: float = Field(0.9, gt=0, lt=1, description="global_time: share of interactions before the cut")
    target: Literal["last", "successive", "random"] = Field("last", description="global_time: which events are targets")
    validation: Literal["user", "time"] = Field("user", description="global_time: where validation cases come from")
    validation_users: float = Field(0.1, gt=0, lt=1, description="validation = user: share of users, last train event")
    validation_quantile: float = Field(0.9, gt=0, lt=1, description="validation = time: second cut, inside train")
    seed: int = Field(42, ge=0, le=MAX_SEED, description="seed of random targets and validation users")


@dataclass(frozen=True)
class _Targets:
    """Positions of target events, and of the end of train: before `held_ends[u]` or `refit_ends[u]` for user u."""

    held_ends: IntArray
    refit_ends: IntArray
    validation: IntArray
    test: IntArray


def make_split(
    interactions: Interactions, config: SplitConfig, protocol: Protocol, directory: Path | None = None
) -> Split:
    """Divide cleaned interactions; `held` and `refit` have the same test cases.

    Leave-one-out: the last event is the test target, the second-last the validation target; users with fewer than
    min_history + 2 events are trained on whole.

    Args:
        interactions: Cleaned interactions.
        config: The recipe's `[split]`.
        protocol: What train contains.
        directory: Where histories are written, so that they need not fit in memory; None: in memory.

    Raises:
        DataError: There are no events or no targets, or a time split of data that have only positions.
    """
    if config.method == "global_time" and interactions.clock == "position":
        raise DataError(
            "[split] method = 'global_time' needs clock times, but these interactions have only positions in each "
            "user's history; use method = 'leave_one_out', or name a timestamp column in [data]."
        )
    events = event_arrays(interactions)
    if not len(events):
        raise DataError("there are no interactions to split; see the data report for what was removed, and why.")
    targets = _leave_one_out(events, config) if config.method == "leave_one_out" else _global_time(events, config)
    return _build(events, targets, config, protocol, ArrayStore(directory))


def _leave_one_out(events: EventArrays, config: SplitConfig) -> _Targets:
    """Train: all but the last two events (held), or the last (refit), of every user who has enough."""
    enough = events.ends - events.starts >= config.min_history + 2
    last = events.ends[enough] - 1
    return _Targets(events.ends - 2 * enough, events.ends - enough, last - 1, last)


def _global_time(events: EventArrays, config: SplitConfig) -> _Targets:
    """Train: strictly before the cut. Events are sorted by user and time, so each train row is a prefix."""
    rng = np.random.default_rng(config.seed)
    cut = _cut(events.times, config.quantile)
    train_ends = _ends_before(events, cut)
    test = _targets(events, train_ends, events.ends, config, rng)
    if config.validation == "time":
        in_train = events.in_prefix(train_ends)
        held_ends = _ends_before(events, _cut(events.times[in_train], config.validation_quantile))
        return _Targets(held_ends, train_ends, _targets(events, held_ends, train_ends, config, rng), test)
    eligible = np.flatnonzero(train_ends - events.starts >= config.min_history + 1)
    n_chosen = min(len(eligible), max(1, round(config.validation_users * len(eligible))))
    chosen = np.sort(rng.choice(eligible, size=n_chosen, replace=False)) if n_chosen else eligible
    held_ends = train_ends.copy()
    held_ends[chosen] -= 1
    return _Targets(held_ends, train_ends, held_ends[chosen], test)


def _cut(times: IntArray, quantile: float) -> int:
    """The first time that is not train."""
    if len(times) == 0:
        raise DataError("no event is before the time cut; raise [split] quantile.")
    # of n distinct times, the next integer above quantile × (n - 1) are before it
    cut = int(np.quantile(times, quantile, method="higher"))
    if cut == times.min():
        raise DataError(
            f"[split] quantile {quantile} cuts at the first event, so train would be empty; raise the quantile."
        )
    return cut


def _ends_before(events: EventArrays, cut: int) -> IntArray:
    return events.starts + np.add.reduceat(events.times < cut, events.starts, dtype=np.int64)


def _targets(
    events: EventArrays, first: IntArray, ends: IntArray, config: SplitConfig, rng: np.random.Generator
) -> IntArray:
    """Target positions of each user within first[u] … ends[u] - 1; those with too short a history are left out."""
    first = np.maximum(first, events.starts + config.min_history)
    eligible = first < ends
    first, ends = first[eligible], ends[eligible]
    if config.target == "last":
        return ends - 1
    if config.target == "random":
        return rng.integers(first, ends)
    return Ragged.slices(np.arange(len(events), dtype=np.int64), first, ends).values


def _build(events: EventArrays, targets: _Targets, config: SplitConfig, protocol: Protocol, store: ArrayStore) -> Split:
    train_ends = targets.held_ends if protocol == "held" else targets.refit_ends
    if config.train_share < 1:
        n_kept = np.ceil((train_ends - events.starts) * config.train_share)
        train_ends = events.starts + n_kept.astype(np.int64)
    if not (train_ends > events.starts).any():
        raise DataError("train is empty under this [split]; lower min_history or raise the quantile.")
    item_index, index_of_code = _index(events, train_ends)
    values = store.join("train_values", indexes_before(events, train_ends, index_of_code))
    train = Ragged.of_lengths(values, train_ends - events.starts)
    validation = None
    if protocol == "held":
        validation = _cases(events, index_of_code, targets.validation, config, store, "validation")
    test = _cases(events, index_of_code, targets.test, config, store, "test")
    for name, cases in (("validation", validation), ("test", test)):
        if cases is not None and not len(cases):
            raise DataError(
                f"[split] method = {config.method!r} leaves no case in {name}: no user has a target with "
                f"min_history = {config.min_history} events before it; lower it, or give more data."
            )
    return Split(protocol, events.user_ids, item_index, train, validation, test)


def _index(events: EventArrays, train_ends: IntArray) -> tuple[ItemIndex, IntArray]:
    """The item index of train, and item code → item_index (0 for items that train does not contain)."""
    counts = count_items(events, train_ends)
    # codes are in the order of ids, so the second key is the id
    order = np.lexsort((np.arange(len(counts)), -counts))
    known = order[counts[order] > 0]
    index_of_code = np.zeros(len(counts), dtype=np.int64)
    index_of_code[known] = np.arange(1, len(known) + 1)
    return ItemIndex(events.item_ids.gather(known).to_list()), index_of_code


def _cases(
    events: EventArrays,
    index_of_code: IntArray,
    positions: IntArray,
    config: SplitConfig,
    store: ArrayStore,
    name: str,
) -> Cases:
    """One case for each target position; its history is everything of that user before it."""
    targets = index_of_code[events.items[positions]]
    if config.cold_items == "remove":
        positions, targets = positions[targets > 0], targets[targets > 0]
    lengths: list[IntArray] = []

    def values() -> Iterator[IntArray]:
        n_values = 0
        for block in histories_before(events, positions, index_of_code, config.max_history):
            lengths.append(block.lengths)
            if (n_values := n_values + len(block.values)) > MAX_HISTORY_VALUES:
                raise DataError(
                    f"the cases' histories have more than {MAX_HISTORY_VALUES:,} events; set [split] max_history (for "
                    "example 200)."
                )
            yield block.values

    joined = store.join(f"{name}_histories_values", values())
    histories = Ragged.of_lengths(joined, np.concatenate([np.empty(0, np.int64), *lengths]))
    return Cases(events.users_at(positions), histories, targets)


def train_popularity(split: Split) -> IntArray:
    """Count how often train contains each item: (n_items + 1,), 0 for PAD."""
    return np.bincount(split.train.values, minlength=len(split.item_index) + 1).astype(np.int64)


def profile_histories(split: Split) -> Iterator[tuple[str, list[str]]]:
    """Yield the users with a train history and its item ids, oldest first; profiles may use nothing else."""
    ids = np.array(["", *split.item_index.ids], dtype=object)
    for user_id, row in zip(split.user_ids, split.train, strict=True):
        if len(row):
            yield user_id, ids[row].tolist()


def train_interactions(split: Split, interactions: Interactions) -> pl.DataFrame:
    """Return the rows of `interactions` that train contains, with weights and times, for prompts that state ratings."""
    frame = interactions.frame
    kept = pl.DataFrame({"user_id": list(split.user_ids), "n_train": split.train.lengths})
    place = pl.int_range(pl.len()).over("user_id")
    joined = frame.with_columns(place=place).join(kept, on="user_id", how="left", maintain_order="left")
    return joined.filter(pl.col("place") < pl.col("n_train")).select(frame.columns)
