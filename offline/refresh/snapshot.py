"""Snapshot of a refresh: its users with their histories at the start, one row group per chunk.

    SNAPSHOT/items.parquet          the catalogue
    SNAPSHOT/population.json        how often categories occur among all users
    SNAPSHOT/part-00000.parquet     user_id, item_ids, weights, times_ms, profile; row group g is chunk 256 · part + g
    SNAPSHOT/snapshot.json          counts; written last

A chunk is read without the others, so a hundred million users are never in memory at once. `profile` is the text that
an update continues; it is null if the whole history is read. Workers on several machines need the directory at the same
path.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from retort.offline.common.chunking import batches
from retort.offline.data.interactions import Items
from retort.offline.profiles.history import UserHistory
from retort.offline.profiles.population import Population
from retort.shared.base.errors import ProfileError, RetortError

FORMAT = 1
_MANIFEST, _ITEMS, _POPULATION = "snapshot.json", "items.parquet", "population.json"
_CHUNKS_PER_FILE = 256  # a Parquet footer lists every row group; too many make it slow to open
_SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_ids", pa.list_(pa.string())),
        ("weights", pa.list_(pa.float32())),
        ("times_ms", pa.list_(pa.int64())),
        ("profile", pa.string()),
        ("n_covered", pa.int32()),
    ]
)


class ProfileRequest(NamedTuple):
    """One user to be profiled. `profile` was written from the first n_covered events; an update reads the others."""

    history: UserHistory
    profile: str | None = None
    n_covered: int = 0


@dataclass(frozen=True)
class Snapshot:
    """A finished snapshot on disk."""

    root: Path
    n_users: int
    n_chunks: int

    @cached_property
    def items(self) -> Items:
        """The catalogue at the start of the refresh."""
        return Items(pl.read_parquet(self.root / _ITEMS))

    @cached_property
    def population(self) -> Population | None:
        """The categories of all users; None in a snapshot of an earlier version."""
        path = self.root / _POPULATION
        return Population.from_json(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None

    def chunk(self, position: int) -> list[ProfileRequest]:
        """Read the users of one chunk."""
        file, group = divmod(position, _CHUNKS_PER_FILE)
        if not 0 <= position < self.n_chunks:
            raise ProfileError(
                f"{self.root} has {self.n_chunks} chunks and no chunk {position}; use a position below {self.n_chunks}."
            )
        with pq.ParquetFile(_part(self.root, file)) as part:
            rows = part.read_row_group(group).to_pylist()
        return [
            ProfileRequest(
                UserHistory(row["user_id"], row["item_ids"], row["weights"], row.get("times_ms")),
                row["profile"],
                row["n_covered"],
            )
            for row in rows
        ]


def write_snapshot(
    root: Path,
    requests: Iterable[ProfileRequest],
    items: Items,
    chunk_users: int,
    population: Population | None = None,
) -> Snapshot:
    """Write a snapshot. Chunks are processed in this order. Raises ProfileError for a user that is listed twice."""
    root.mkdir(parents=True, exist_ok=True)
    items.frame.write_parquet(root / _ITEMS)
    if population is not None:
        (root / _POPULATION).write_text(json.dumps(population.as_json()), encoding="utf-8")
    n_users = n_chunks = 0
    seen: set[str] = set()
    writer: pq.ParquetWriter | None = None
    try:
        for chunk in batches(requests, chunk_users):
            _check_unique(chunk, seen)
            if n_chunks % _CHUNKS_PER_FILE == 0:
                if writer is not None:
                    writer.close()
                writer = pq.ParquetWriter(_part(root, n_chunks // _CHUNKS_PER_FILE), _SCHEMA, compression="zstd")
            assert writer is not None
            writer.write_table(_table(chunk), row_group_size=len(chunk))
            n_users, n_chunks = n_users + len(chunk), n_chunks + 1
    finally:
        if writer is not None:
            writer.close()
    if not n_users:
        raise ProfileError("no eligible users: none has a history, or all profiles are current.")
    manifest = {"format": FORMAT, "n_users": n_users, "n_chunks": n_chunks}
    (root / _MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return Snapshot(root, n_users, n_chunks)


def open_snapshot(root: Path) -> Snapshot:
    """Open a finished snapshot. Raises ProfileError if it is missing or has another format."""
    manifest = read_snapshot_manifest(root, FORMAT, "histories", ProfileError)
    return Snapshot(root, manifest["n_users"], manifest["n_chunks"])


def read_snapshot_manifest(root: Path, expected: int, what: str, error: type[RetortError]) -> dict[str, Any]:
    """Read the manifest of a snapshot of users or items.

    Args:
        expected: Format that this version reads.
        what: What the snapshot holds, for the error.
        error: Raised if the manifest is missing or has another format.
    """
    try:
        manifest: dict[str, Any] = json.loads((root / _MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise error(
            f"the refresh's {what} are not at {root}; give every worker the same directory there (a shared disk)."
        ) from None
    if manifest.get("format") != expected:
        raise error(f"{root} holds a snapshot of format {manifest.get('format')}, not {expected}; start a new refresh.")
    return manifest


def _check_unique(chunk: list[ProfileRequest], seen: set[str]) -> None:
    for request in chunk:
        if request.history.user_id in seen:
            raise ProfileError(f"user {request.history.user_id!r} is listed twice; name each user once.")
        seen.add(request.history.user_id)


def _table(chunk: list[ProfileRequest]) -> pa.Table:
    return pa.table(
        {
            "user_id": [request.history.user_id for request in chunk],
            "item_ids": [list(request.history.item_ids) for request in chunk],
            "weights": [
                None if request.history.weights is None else list(request.history.weights) for request in chunk
            ],
            "times_ms": [
                None if request.history.times_ms is None else list(request.history.times_ms) for request in chunk
            ],
            "profile": [request.profile for request in chunk],
            "n_covered": [request.n_covered for request in chunk],
        },
        schema=_SCHEMA,
    )


def _part(root: Path, number: int) -> Path:
    return root / f"part-{number:05d}.parquet"
