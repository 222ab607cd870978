"""Vectors of very many users: encoded shard by shard, resumable, renewed for changed users only, mapped without refit.

    FOLDER/wide-00000.parquet      user_id, text hash, vector (E,)      one shard of users, written whole or not at all
    FOLDER/narrow-00000.parquet    user_id, vector (P,)                 the same users through the kept map
    FOLDER/reducer/                the map; fitted on a sample of all shards
    FOLDER/space.json              what the wide vectors' space looked like when the map was fitted

A user's shard is the hash of the id, so it stays the same however many users come and go, and a refresh of some users
touches some shards. One shard is in memory at a time. Nothing here is pickled but the map, which never leaves offline.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from retort.offline.common.progress import Progress, track
from retort.offline.embeddings.drift import (
    Drift,
    DriftStatistics,
    measure_drift,
    read_drift_statistics,
    write_drift_statistics,
)
from retort.offline.embeddings.reducer import ReducerConfig, fit_reducer, load_reducer
from retort.offline.embeddings.reduction_quality import ReductionQuality, measure_reduction
from retort.offline.embeddings.vectors import FloatArray, Vectors, read_vectors, write_vectors
from retort.shared.base.errors import ProfileError

# Texts of a shard → their vectors (N, E), in order.
Encode = Callable[[list[str]], FloatArray]
_TEXT_HASH = "text_hash"
_HELD, _ENOUGH_HELD = 2000, 20  # vectors that a map's quality is measured on


@dataclass(frozen=True)
class UpdateReport:
    """What a pass over the shards did, in users. drift: of the space since the map was fitted, None before a fit."""

    encoded: int
    kept: int
    gone: int
    shards_written: int
    shards: int
    drift: Drift | None = None

    def line(self) -> str:
        """One line for a person."""
        said = f"{self.encoded} users encoded, {self.kept} unchanged, {self.gone} gone, in {self.shards_written} of "
        return f"{said}{self.shards} shards"


def shard_index(user_id: str, n_shards: int) -> int:
    """Always the same for one id and number of shards."""
    return int.from_bytes(hashlib.blake2b(user_id.encode(), digest_size=8).digest(), "big") % n_shards


def split_texts(tables: Iterable[pl.DataFrame], folder: Path, n_shards: int) -> int:
    """Spread user_id, text over one Parquet file a shard, table by table; how many users."""
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
    """Encode who is new or has another text; keep the others; drop who is gone. A killed pass goes on where it was.

    texts: what `split_texts` wrote. A shard whose texts did not change is not written again, nor is its file opened
    for more than its hashes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    n_encoded = n_kept = n_gone = n_written = 0
    for shard in track(range(n_shards), "vector shards", progress):
        wanted = _read_texts(texts / f"texts-{shard:05d}.parquet")
        path = _wide(folder, shard)
        old = pl.read_parquet(path, columns=["user_id", _TEXT_HASH]) if path.is_file() else _NOBODY
        changed = wanted.join(old, on=["user_id", _TEXT_HASH], how="anti")
        gone = old.join(wanted, on="user_id", how="anti")
        n_kept += len(wanted) - len(changed)
        n_encoded, n_gone = n_encoded + len(changed), n_gone + len(gone)
        if len(changed) or len(gone):
            _write_wide(path, wanted, changed, encode)
            _narrow(folder, shard).unlink(missing_ok=True)
            n_written += 1
    return UpdateReport(n_encoded, n_kept, n_gone, n_written, n_shards)


_NOBODY = pl.DataFrame(schema={"user_id": pl.String, _TEXT_HASH: pl.String})


def _read_texts(path: Path) -> pl.DataFrame:
    if not path.is_file():
        return pl.DataFrame(schema={"user_id": pl.String, "text": pl.String, _TEXT_HASH: pl.String})
    table = pl.read_parquet(path)
    digests = [hashlib.sha256(text.encode()).hexdigest()[:32] for text in table["text"]]
    return table.with_columns(pl.Series(_TEXT_HASH, digests, dtype=pl.String)).sort("user_id")


def _write_wide(path: Path, wanted: pl.DataFrame, changed: pl.DataFrame, encode: Encode) -> None:
    known: dict[str, FloatArray] = {}
    if path.is_file():
        stored = read_vectors(path)
        known = dict(zip(stored.ids, stored.vectors, strict=True))
    if len(changed):
        fresh = encode(changed["text"].to_list())
        known |= dict(zip(changed["user_id"].to_list(), fresh, strict=True))
    ids = wanted["user_id"].to_list()
    if not ids:
        path.unlink(missing_ok=True)
        return
    flat = pa.array(np.concatenate([known[user_id] for user_id in ids]).astype(np.float32))
    column = pa.FixedSizeListArray.from_arrays(flat, len(known[ids[0]]))
    table = pa.table({"user_id": ids, _TEXT_HASH: wanted[_TEXT_HASH].to_list(), "vector": column})
    partial = path.with_name(f"{path.name}.partial")
    pq.write_table(table, partial, compression="zstd")
    partial.replace(path)


def fit_shard_reducer(
    folder: Path, n_shards: int, config: ReducerConfig, progress: Progress, to: Path | None = None
) -> ReductionQuality | None:
    """Fit the map on a seeded sample of all shards, keep it, and remember the space. All narrow vectors become stale.

    to: where the map and what it maps are kept, where `folder` is not to be changed. The quality is measured on users
    the map was not fitted on, where there are any: that is how new users fare.
    """
    sample, held = _samples(folder, n_shards, config.fit_sample, config.seed)
    reduced = fit_reducer(sample, config.model_copy(update={"fit_sample": None}), progress)
    home = to or folder
    reduced.reducer.save(home / "reducer")
    write_drift_statistics(home / "space.json", DriftStatistics.of(sample))
    for path in home.glob("narrow-*.parquet"):
        path.unlink()
    if config.method == "none":
        return None
    quality = measure_reduction(held, reduced.reducer.transform(held), config.seed)
    if quality is not None and held is not sample:
        progress.say(f"of users mapped without a fit: {quality.line()}")
    return quality


def reduce_shards(folder: Path, n_shards: int, progress: Progress, to: Path | None = None) -> tuple[int, Drift]:
    """Map every shard that has no narrow vectors of this map yet; how many, and how far the space has moved since."""
    home = to or folder
    reducer, space = load_reducer(home / "reducer"), read_drift_statistics(home / "space.json")
    n_mapped, moved = 0, []
    for shard in track(range(n_shards), "mapping", progress):
        wide = _wide(folder, shard)
        if wide.is_file() and not _narrow(home, shard).is_file():
            stored = read_vectors(wide)
            write_vectors(_narrow(home, shard), stored.ids, reducer.transform(stored.vectors))
            n_mapped += 1
        if wide.is_file():
            moved.append(DriftStatistics.of(read_vectors(wide).vectors))
    drift = measure_drift(space, moved)
    if drift.refit:
        progress.say(f"the vectors' space has moved ({drift.line()}): fit the map anew and train again")
    return n_mapped, drift


def read_reduced_vectors(folder: Path, n_shards: int, to: Path | None = None) -> Iterator[Vectors]:
    """The mapped vectors, a shard at a time. Raises ProfileError where a shard is not mapped yet."""
    home = to or folder
    for shard in range(n_shards):
        if not _wide(folder, shard).is_file():
            continue
        if not _narrow(home, shard).is_file():
            raise ProfileError(f"shard {shard} in {folder} is encoded but not mapped; map the shards first.")
        yield read_vectors(_narrow(home, shard))


def _samples(folder: Path, n_shards: int, size: int | None, seed: int) -> tuple[FloatArray, FloatArray]:
    """Vectors to fit on, the same share of every shard, and others to measure by (the same ones where all are fitted).

    At most one shard and the samples are in memory.
    """
    paths = [_wide(folder, shard) for shard in range(n_shards) if _wide(folder, shard).is_file()]
    total = sum(pq.read_metadata(path).num_rows for path in paths)
    if not total:
        raise ProfileError(f"there are no vectors in {folder}; encode first.")
    share = 1.0 if size is None else min(1.0, size / total)
    random = np.random.default_rng(seed)
    fitted, held = [], []
    for path in paths:
        vectors = read_vectors(path).vectors
        order = random.permutation(len(vectors))
        n_fit, n_held = max(1, round(share * len(order))), -(-_HELD * len(order) // total)
        fitted.append(vectors[np.sort(order[:n_fit])])
        held.append(vectors[np.sort(order[n_fit : n_fit + n_held])])
    sample, others = np.concatenate(fitted), np.concatenate(held)
    return sample, others if len(others) >= _ENOUGH_HELD else sample


def _wide(folder: Path, shard: int) -> Path:
    return folder / f"wide-{shard:05d}.parquet"


def _narrow(folder: Path, shard: int) -> Path:
    return folder / f"narrow-{shard:05d}.parquet"
