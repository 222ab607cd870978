"""Synthetic data of a seeded library: needs no file, and item texts predict what a reader chooses next.

See `_synthetic_world.py`.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from pydantic import Field

from retort.offline.common.progress import Progress
from retort.offline.common.section import MAX_SEED, Section
from retort.offline.data.rejects import Rejects
from retort.offline.data.sources import RawTable, RawTables
from retort.offline.data.sources._synthetic_catalogue import describe_followers, describe_items
from retort.offline.data.sources._synthetic_world import Events, World, make_world, simulate

MADE_UP = "made up with the demo's world"
MAX_CHUNK_USERS = 8192
MAX_SEEN_CELLS = 48_000_000  # users × items in the table of seen items of one chunk


class Config(Section):
    """Options: size and seed of the world; 400,000 users of mean length 25 make ten million events."""

    users: int = Field(2_000, ge=1, le=20_000_000, description="number of users")
    items: int = Field(1_000, ge=20, le=2_000_000, description="number of items")
    mean_length: float = Field(25.0, ge=5, description="mean number of events per user")
    seed: int = Field(7, ge=0, le=MAX_SEED, description="seed of the world")


def read(config: Config, root: Path | None, rejects: Rejects, progress: Progress) -> RawTables:
    """Generate the world in memory; `root` is not used."""
    world, items = _world(config)
    frames, drifts = [], []
    for events in _chunks(config, world, progress):
        frames.append(_frame(events, items["item_id"]))
        drifts.append(events.drifts)
    events_frame = pl.concat(frames).with_row_index("row", offset=1)
    users = _users(config, np.concatenate(drifts))
    return RawTables(
        interactions=(RawTable("synthetic interactions", events_frame.lazy()),),
        items=(RawTable("synthetic items", items.with_row_index("row", offset=1).lazy()),),
        users=(RawTable("synthetic users", users.with_row_index("row", offset=1).lazy()),),
        time_unit="ms",
    )


def write_world(config: Config, directory: Path, progress: Progress) -> int:
    """Write the same world to interactions.parquet, items.parquet and users.parquet, for the `table` source.

    Memory holds one chunk of users, whatever the size.

    Returns:
        The number of events.
    """
    directory.mkdir(parents=True, exist_ok=True)
    world, items = _world(config)
    items.write_parquet(directory / "items.parquet")
    drifts, n_events = [], 0
    schema = _frame(Events(*(np.empty(0, np.int64),) * 3, np.empty(0, bool)), items["item_id"]).to_arrow().schema
    with pq.ParquetWriter(directory / "interactions.parquet", schema) as writer:
        for events in _chunks(config, world, progress):
            writer.write_table(_frame(events, items["item_id"]).to_arrow().cast(schema))
            drifts.append(events.drifts)
            n_events += len(events.users)
    _users(config, np.concatenate(drifts)).write_parquet(directory / "users.parquet")
    return n_events


def write_knowledge(config: Config, path: Path) -> int:
    """Write a text about each item, in the form of `[knowledge] backend = "file"`: JSON lines with their source.

    The texts are made up with the world, by rule: they name the themes that readers of the item's theme go on to, which
    the descriptions do not say. No language model is asked.

    Returns:
        The number of texts.
    """
    world, items = _world(config)
    texts = describe_followers(world, items)
    frame = pl.DataFrame({"item_id": items["item_id"], "knowledge": texts, "source": MADE_UP})
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.write_ndjson(path)
    return frame.height


def _world(config: Config) -> tuple[World, pl.DataFrame]:
    rng = np.random.default_rng(config.seed)
    world = make_world(config.items, rng)
    return world, describe_items(world, _ids("item_id", "i", np.arange(config.items), config.items), rng)


def _chunks(config: Config, world: World, progress: Progress) -> Iterator[Events]:
    size = max(1, min(MAX_CHUNK_USERS, MAX_SEEN_CELLS // config.items))
    for first in range(0, config.users, size):
        n_users = min(size, config.users - first)
        # each chunk has its own random stream, so chunks do not depend on each other
        rng = np.random.default_rng([config.seed, 1, first])
        yield simulate(world, n_users, first, config.mean_length, rng)
        progress.update("generating users", first + n_users, config.users)


def _frame(events: Events, item_ids: pl.Series) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "user_id": _ids("user_id", "u", events.users, 10_000_000),
            "item_id": item_ids.gather(events.items),
            "timestamp": events.timestamps,
        }
    )


def _users(config: Config, drifts: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> pl.DataFrame:
    ids = _ids("user_id", "u", np.arange(config.users), 10_000_000)
    return pl.DataFrame({"user_id": ids, "drifts": drifts})


def _ids(name: str, prefix: str, numbers: np.ndarray[tuple[int], np.dtype[np.int64]], size: int) -> pl.Series:
    """Ids of equal width, so that their order as text is their order as numbers."""
    text = pl.Series(name, numbers).cast(pl.String).str.zfill(len(str(size - 1)))
    return (prefix + text).alias(name)
