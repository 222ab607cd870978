"""Batch recommendations (`retort recommend`): ranked items for a file of users, equal to those of the server.

The scorer, the histories and the fallback to popular items are those of `retort.shared`, which serving uses too.
"""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from retort.offline.cli.recommend_shards import write_shards
from retort.offline.common.database import migrate_and_open
from retort.offline.common.progress import Progress, Silent
from retort.offline.common.terminal import TerminalProgress
from retort.offline.data import times
from retort.offline.data.events import collect, id_problem, reject_bad_rows, with_ids
from retort.offline.data.rejects import Rejects
from retort.offline.data.sources._files import read_any, table
from retort.offline.export.batch_recommender import SCHEMA, BatchRecommender
from retort.offline.local.local_redis import running_redis
from retort.shared.base.errors import DataError, StoreError
from retort.shared.base.hashing import hash_file
from retort.shared.base.schema import MAX_K
from retort.shared.base.settings import Settings
from retort.shared.history.redis_history import RedisHistory
from retort.shared.history.store import Owner
from retort.shared.model import registry
from retort.shared.model.bundle import open_bundle

_BATCH_USERS = 256

# User ids → their item ids, oldest first; empty for a user without a history.
ReadHistories = Callable[[list[str]], list[list[str]]]


@dataclass(frozen=True)
class BatchRequest:
    """What `retort recommend` is asked for.

    Attributes:
        users: File of the users.
        out: Parquet file, or directory of the shards.
        reference: Directory of a bundle, or its alias, id or name@version.
        histories: File of the histories; None: Redis, as in serving.
        k: Items for each user.
        tenant: Tenant of the bundle and of the histories.
        shards: Number of files; None: one file.
    """

    users: Path
    out: Path
    reference: str
    histories: Path | None
    k: int
    tenant: str
    shards: int | None = None


class Batch:
    """An opened request: the bundle, the users and a way to read their histories.

    Raises:
        DataError: A file cannot be read, k is too large, or `out` is a directory and there are no shards.
        StoreError: There is no Redis to read histories from.
    """

    def __init__(self, request: BatchRequest) -> None:
        if not 1 <= request.k <= MAX_K:
            raise DataError(f"--k {request.k} is outside 1 … {MAX_K}; choose a k that the server accepts too.")
        if request.out.is_dir() and request.shards is None:
            raise DataError(f"--out {request.out} is a directory; name the Parquet file to write.")
        settings = Settings()
        self.request = request
        self.user_ids = _user_ids(request.users)
        self.bundle = open_bundle(_bundle_path(request.reference, settings, request.tenant))
        self._recommender = BatchRecommender(self.bundle)
        self._read_histories = (
            _from_redis(settings, request.tenant)
            if request.histories is None
            else _from_file(request.histories, settings.history_length)
        )

    @cached_property
    def plan(self) -> dict[str, Any]:
        """What determines the lists."""
        histories = self.request.histories
        read_from = hash_file(histories) if histories is not None and histories.is_file() else str(histories)
        users = hash_file(self.request.users)
        return {"bundle": self.bundle.bundle_id, "k": self.request.k, "users": users, "histories": read_from}

    def write(self, user_ids: list[str], path: Path, progress: Progress) -> None:
        """Write the lists of some users to a file."""
        write_recommendations(self._recommender, self._read_histories, user_ids, self.request.k, path, progress)


def recommend_users(request: BatchRequest) -> str:
    """Write the ranked lists, to one file or to shards in a directory; returns a summary sentence.

    Raises:
        DataError: As `Batch`, or the directory holds shards of another request.
    """
    batch = Batch(request)
    source = f"{batch.bundle.manifest.name} {batch.bundle.bundle_id}"
    with TerminalProgress() as progress:
        if request.shards is not None:
            n_done = write_shards(
                request.out,
                batch.plan,
                batch.user_ids,
                request.shards,
                lambda user_ids, path: batch.write(user_ids, path, progress),
            )
            return f"{n_done} of {request.shards} shards in {request.out} are finished, from {source}"
        batch.write(batch.user_ids, request.out, progress)
    return f"{len(batch.user_ids)} users have recommendations in {request.out} from {source}"


def write_recommendations(
    recommender: BatchRecommender,
    read_histories: ReadHistories,
    user_ids: list[str],
    k: int,
    out: Path,
    progress: Progress,
) -> None:
    """Write the lists batch by batch; the file appears under its name only when it is complete."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with pq.ParquetWriter(partial, SCHEMA) as writer:
            for start in range(0, len(user_ids), _BATCH_USERS):
                batch = user_ids[start : start + _BATCH_USERS]
                writer.write_table(recommender.table(batch, read_histories(batch), k))
                progress.update("users", start + len(batch), len(user_ids))
        os.replace(partial, out)
    finally:
        partial.unlink(missing_ok=True)


def _bundle_path(reference: str, settings: Settings, tenant: str) -> Path:
    if Path(reference).is_dir():
        return Path(reference)
    uri = registry.resolve(migrate_and_open(settings), reference, tenant=tenant).uri
    if "://" in uri.removeprefix("file://"):
        raise DataError(
            f"bundle {reference} is at {uri}; copy it to this machine and name its directory with --bundle."
        )
    return Path(uri.removeprefix("file://"))


def _user_ids(path: Path) -> list[str]:
    """The distinct user ids, in the file's order."""
    frame = _read(path, ("user_id",))
    if frame["user_id"].null_count():
        row = int(frame.filter(pl.col("user_id").is_null())["row"][0])
        raise DataError(f"{path}, row {row}: user_id is missing; fill it in or drop the row.")
    return frame["user_id"].unique(maintain_order=True).to_list()


def _from_file(path: Path, newest: int) -> ReadHistories:
    """Histories from a file, sorted by time; equal times keep the file's order, as in Redis."""
    frame = _read(path, ("user_id", "item_id", "timestamp"))
    if frame["timestamp"].dtype == pl.String:  # a CSV's numbers are text, whose order is another
        frame = frame.with_columns(times.as_milliseconds(frame["timestamp"], path))
    frame = frame.drop_nulls().sort("timestamp", maintain_order=True)
    grouped = frame.group_by("user_id").agg(pl.col("item_id").tail(newest))
    items = dict(grouped.iter_rows())
    return lambda user_ids: [items.get(user_id, []) for user_id in user_ids]


def _read(path: Path, columns: tuple[str, ...]) -> pl.DataFrame:
    """Read the named columns of any format, ids as text, each id by the rule of training's data."""
    if not path.is_file():
        raise DataError(
            f"there is no file {path}; give a .parquet, .csv, .tsv or .jsonl file with {', '.join(columns)}."
        )
    rejects = Rejects()
    raw = table(path, read_any(path, rejects, Silent()), {name: name for name in columns})
    ids = [name for name in columns if name.endswith("_id")]
    frame, cleaned = with_ids(collect(raw, raw.frame), raw, ids)
    for name in ids:
        frame = reject_bad_rows(frame, raw, [cleaned[name].problem(name), id_problem(name)], rejects)
    if len(rejects):
        first = rejects.frame().row(0, named=True)
        raise DataError(f"{path}, row {first['row']}, value {first['value']!r}: {first['reason']}; correct the row.")
    return frame.select("row", *columns)


def _from_redis(settings: Settings, tenant: str) -> ReadHistories:
    """Histories from serving's Redis, one round trip a batch; each batch has its own event loop and connection."""
    redis_url = settings.histories_url or running_redis(settings.retort_home)
    if redis_url is None:
        raise StoreError("histories are in serving's Redis: set REDIS_URL, or name a file with --histories.")

    async def read(user_ids: list[str]) -> list[list[str]]:
        store = RedisHistory.from_url(redis_url, timeout_s=30.0)
        try:
            return await store.recent([Owner(user_id, tenant) for user_id in user_ids], settings.history_length)
        finally:
            await store.close()

    return lambda user_ids: asyncio.run(read(user_ids))
