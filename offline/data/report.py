"""Data report: counts of the cleaned data and of what was removed, and the hash that identifies the data."""

import hashlib
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import polars as pl

from retort.offline.data.event_arrays import codes_of
from retort.offline.data.interactions import Clock, Interactions, Items
from retort.offline.data.user_filters import RemovedEvents

_HASH_VERSION = b"retort-data-1"


@dataclass(frozen=True)
class DataReport:
    """Counts after cleaning, unless stated otherwise. first, last: ISO times, or "positions"."""

    source: str
    users: int
    items: int
    interactions: int
    density: float
    mean_length: float
    clock: Clock
    first: str
    last: str
    weights: int  # events whose weight is known
    items_with_title: int
    items_with_text: int
    text_coverage: float  # share of items with text
    items_without_metadata: int
    users_in_table: int
    users_without_history: int
    rows_read: dict[str, int]  # file → rows
    rejects: dict[str, int]  # file → bad rows
    identical_items: int  # rows of the items' file that repeated another row
    removed: RemovedEvents
    data_hash: str

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "DataReport":
        """Build a report from what `as_json` returned."""
        return cls(**{**values, "removed": RemovedEvents(**values["removed"])})


def make_report(
    source: str,
    interactions: Interactions,
    items: Items,
    users: pl.DataFrame | None,
    *,
    rows_read: dict[str, int],
    rejects: dict[str, int],
    removed: RemovedEvents,
    items_without_metadata: int,
    users_without_history: int,
    identical_items: int,
) -> DataReport:
    """Count everything once."""
    counts = _count(interactions)
    n_users, n_items, n_events = len(interactions.ids("user_id")), len(interactions.ids("item_id")), counts["events"]
    n_text = int((items.frame["text"] != "").sum())
    return DataReport(
        source=source,
        users=n_users,
        items=n_items,
        interactions=n_events,
        density=n_events / (n_users * n_items),
        mean_length=n_events / n_users,
        clock=interactions.clock,
        first=_moment(interactions, counts["first"]),
        last=_moment(interactions, counts["last"]),
        weights=counts["weights"],
        items_with_title=int((items.frame["title"] != "").sum()),
        items_with_text=n_text,
        text_coverage=n_text / items.frame.height,
        items_without_metadata=items_without_metadata,
        users_in_table=0 if users is None else users.height,
        users_without_history=users_without_history,
        rows_read=rows_read,
        rejects=rejects,
        identical_items=identical_items,
        removed=removed,
        data_hash=data_hash(interactions, items, users),
    )


def _count(interactions: Interactions) -> dict[str, int]:
    """The number of events and of known weights, and the first and the last time."""
    of_parts = [
        part.select(
            events=pl.len(), weights=pl.col("weight").count(), first=pl.min("timestamp"), last=pl.max("timestamp")
        )
        for part in interactions.parts(["timestamp", "weight"])
    ]
    sums = pl.concat(of_parts).select(pl.sum("events", "weights"), pl.min("first"), pl.max("last"))
    return sums.row(0, named=True)


def _moment(interactions: Interactions, value: int) -> str:
    if interactions.clock == "position":
        return "positions"
    return datetime.fromtimestamp(value / 1000, UTC).isoformat(timespec="seconds")


def data_hash(interactions: Interactions, items: Items, users: pl.DataFrame | None) -> str:
    """Return the SHA-256 in hex of cleaned data: equal for CSV and Parquet, and for any order of the rows.

    The order counts only where two events of a user have the same time.
    """
    digest = hashlib.sha256(_HASH_VERSION + interactions.clock.encode())
    for column in ("user_id", "item_id"):
        ids = interactions.ids(column)
        digest.update(orjson.dumps(ids.to_list()))
        for part in interactions.parts([column]):
            digest.update(codes_of(part[column], ids).astype("<u4").tobytes())
    for part in interactions.parts(["timestamp"]):
        digest.update(part["timestamp"].to_numpy().astype("<i8").tobytes())
    for part in interactions.parts(["weight"]):
        digest.update(part["weight"].is_null().to_numpy().tobytes())
    for part in interactions.parts(["weight"]):
        digest.update(part["weight"].fill_null(0).to_numpy().astype("<f4").tobytes())
    _add_table(digest, items.frame.sort("item_id"))
    if users is not None:
        _add_table(digest, users.sort("user_id"))
    return digest.hexdigest()


def _add_table(digest: Any, frame: pl.DataFrame) -> None:
    for name in sorted(frame.columns):
        digest.update(orjson.dumps([name, frame[name].to_list()]))
