"""Sharded vectors of very many users: resumable, encoded again for changed users only, reduced without a refit.

    FOLDER/wide-00000.parquet      user_id, text hash, vector (E,)      one shard of users, written whole or not at all
    FOLDER/narrow-00000.parquet    user_id, vector (P,)                 the same users after reduction
    FOLDER/reducer/                the reducer, fitted on a sample of all shards
    FOLDER/space.json              drift statistics of the wide vectors when the reducer was fitted

A user's shard is a hash of the id. It does not depend on other users, so a refresh of some users changes some shards
only. One shard is in memory at a time. Only the reducer is pickled, and it never leaves offline.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from retort.offline.common.progress import Progress, track
from retort.offline.embeddings.drift import Drift
from retort.offline.embeddings.vectors import FloatArray, read_vectors, refuse_one_vector
from retort.shared.base.errors import ProfileError

# Encodes the texts of a shard to vectors (N, E), in order.
Encode = Callable[[list[str]], FloatArray]
_TEXT_HASH = "text_hash"


@dataclass(frozen=True)
class UpdateReport:
    """Counts of one update of the shards, in users.

    Attributes:
        drift: Drift since the reducer was fitted; None before a fit.
    """

    encoded: int
    kept: int
    gone: int
    shards_written: int
    shards: int
    drift: Drift | None = None

    def line(self) -> str:
        """Return the report as one line of text."""
        users = (
            f"{self.encoded} users encoded, {self.kept} unchanged, {self.gone} removed, in {self.shards_written} of "
        )
        return f"{users}{self.shards} shards"


def shard_index(user_id: str, n_shards: int) -> int:
    """Return a user's shard; it depends only on the id and the number of shards."""
    return int.from_bytes(hashlib.blake2b(user_id.encode(), digest_size=8).digest(), "big") % n_shards


def split_texts(tables: Iterable[pl.DataFrame], folder: Path, n_shards: int) -> int:
    """Distribute tables of user_id, text to one Parquet file for each shard.

    Returns:
        The number of users.
    """
    folder.mkdir(parents=True, exist_ok=True)
    writers: dict[int, pq.ParquetWriter] = {}
    schema = pa.schema([("user_id", pa.string()), ("text", pa.string())])
    n_users = 0
    try:
        for table in tables:
            ids = table["user_id"].to_list()
            shards = np.array([shard_index(user_id, n_shards) for user_id in ids], dtype=np.int64)
            n_users += len(ids)
            for shard in np.unique(shards):
                rows = table.filter(pl.Series(shards == shard)).select("user_id", "text")
                if shard not in writers:
                    writers[int(shard)] = pq.ParquetWriter(folder / f"texts-{shard:05d}.parquet", schema)
                writers[int(shard)].write_table(rows.to_arrow().cast(schema))
    finally:
        for writer in writers.values():
            writer.close()
    return n_users


def update_vectors(texts: Path, folder: Path, n_shards: int, encode: Encode, progress: Progress) -> UpdateReport:
    """Encode new users and changed texts, keep the others, and remove users who are gone. Safe to resume.

    A shard without changes is not written, and only its hashes are read.

    Args:
        texts: Folder that `split_texts` wrote.
        encode: Encodes the texts of one shard.
    """
    folder.mkdir(parents=True, exist_ok=True)
    n_encoded = n_kept = n_gone = n_written = 0
    for shard in track(range(n_shards), "vector shards", progress):
        current = _read_texts(texts / f"texts-{shard:05d}.parquet")
        path = wide_path(folder, shard)
        old = pl.read_parquet(path, columns=["user_id", _TEXT_HASH]) if path.is_file() else _NO_USERS
        changed = current.join(old, on=["user_id", _TEXT_HASH], how="anti")
        gone = old.join(current, on="user_id", how="anti")
        n_kept += len(current) - len(changed)
        n_encoded, n_gone = n_encoded + len(changed), n_gone + len(gone)
        if len(changed) or len(gone):
            _write_wide(path, current, changed, encode)
            narrow_path(folder, shard).unlink(missing_ok=True)
            n_written += 1
    return UpdateReport(n_encoded, n_kept, n_gone, n_written, n_shards)


def count_distinct(folder: Path, n_shards: int) -> tuple[int, int]:
    """Return the number of users with a vector, and the number of distinct vectors, by their hashes.

    Raises:
        ProfileError: Several users all have the same vector.
    """
    digests = [np.empty(0, dtype=np.uint64)]
    for path in (wide_path(folder, shard) for shard in range(n_shards)):
        if path.is_file():
            rows = read_vectors(path).vectors
            found = [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in rows]
            digests.append(np.frombuffer(b"".join(found), dtype=np.uint64))
    joined = np.concatenate(digests)
    n_users, n_distinct = len(joined), len(np.unique(joined))
    refuse_one_vector(n_users, n_distinct)
    return n_users, n_distinct


_NO_USERS = pl.DataFrame(schema={"user_id": pl.String, _TEXT_HASH: pl.String})


def _read_texts(path: Path) -> pl.DataFrame:
    if not path.is_file():
        return pl.DataFrame(schema={"user_id": pl.String, "text": pl.String, _TEXT_HASH: pl.String})
    table = pl.read_parquet(path)
    digests = [hashlib.sha256(text.encode()).hexdigest()[:32] for text in table["text"]]
    return table.with_columns(pl.Series(_TEXT_HASH, digests, dtype=pl.String)).sort("user_id")


def _write_wide(path: Path, current: pl.DataFrame, changed: pl.DataFrame, encode: Encode) -> None:
    known: dict[str, FloatArray] = {}
    if path.is_file():
        stored = read_vectors(path)
        known = dict(zip(stored.ids, stored.vectors, strict=True))
    if len(changed):
        new_vectors = encode(changed["text"].to_list())
        known |= dict(zip(changed["user_id"].to_list(), new_vectors, strict=True))
    ids = current["user_id"].to_list()
    if not ids:
        path.unlink(missing_ok=True)
        return
    values = np.concatenate([known[user_id] for user_id in ids]).astype(np.float32)
    if not np.isfinite(values).all():
        raise ProfileError(f"the encoder returned NaN or infinity for a text of {path.name}; choose another encoder.")
    flat = pa.array(values)
    column = pa.FixedSizeListArray.from_arrays(flat, len(known[ids[0]]))
    table = pa.table({"user_id": ids, _TEXT_HASH: current[_TEXT_HASH].to_list(), "vector": column})
    partial = path.with_name(f"{path.name}.partial")
    pq.write_table(table, partial, compression="zstd")
    partial.replace(path)


def wide_path(folder: Path, shard: int) -> Path:
    """File of a shard's vectors as they were encoded."""
    return folder / f"wide-{shard:05d}.parquet"


def narrow_path(folder: Path, shard: int) -> Path:
    """File of a shard's reduced vectors."""
    return folder / f"narrow-{shard:05d}.parquet"
