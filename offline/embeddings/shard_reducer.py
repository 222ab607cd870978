"""The reducer of users' vectors in shards: fitted on a sample, applied a shard at a time."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from retort.offline.common.progress import Progress, track
from retort.offline.embeddings.drift import (
    Drift,
    DriftStatistics,
    measure_drift,
    read_drift_statistics,
    write_drift_statistics,
)
from retort.offline.embeddings.reducer import fit_reducer, load_reducer
from retort.offline.embeddings.reducer_config import ReducerConfig
from retort.offline.embeddings.reduction_quality import ReductionQuality, measure_reduction
from retort.offline.embeddings.shards import narrow_path, wide_path
from retort.offline.embeddings.vectors import FloatArray, Vectors, read_vectors, write_vectors
from retort.shared.base.errors import ProfileError

_MAX_HELD, _MIN_HELD = 2000, 20  # most and least vectors that the reduction quality is measured on


def fit_shard_reducer(
    folder: Path, n_shards: int, config: ReducerConfig, progress: Progress, to: Path | None = None
) -> ReductionQuality | None:
    """Fit the reducer on a seeded sample of all shards and store it with its drift statistics.

    All reduced vectors are deleted, because they are outdated.

    Args:
        to: Folder for the reducer and the reduced vectors, where `folder` must not change; None: `folder`.

    Returns:
        The quality, measured on users outside the fit where there are enough: as for new users. None for method none.
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
        progress.say(f"for users outside the fit, {quality.line()}")
    return quality


def reduce_shards(folder: Path, n_shards: int, progress: Progress, to: Path | None = None) -> tuple[int, Drift]:
    """Reduce every shard that has no reduced vectors yet.

    Returns:
        The number of reduced shards, and the drift since the fit.
    """
    home = to or folder
    reducer, fitted_on = load_reducer(home / "reducer"), read_drift_statistics(home / "space.json")
    n_reduced, statistics = 0, []
    for shard in track(range(n_shards), "reducing shards", progress):
        wide = wide_path(folder, shard)
        if wide.is_file() and not narrow_path(home, shard).is_file():
            stored = read_vectors(wide)
            write_vectors(narrow_path(home, shard), stored.ids, reducer.transform(stored.vectors))
            n_reduced += 1
        if wide.is_file():
            statistics.append(DriftStatistics.of(read_vectors(wide).vectors))
    drift = measure_drift(fitted_on, statistics)
    if drift.needs_refit:
        progress.say(f"the vectors have drifted ({drift.line()}); fit the reducer again and retrain")
    return n_reduced, drift


def read_reduced_vectors(folder: Path, n_shards: int, to: Path | None = None) -> Iterator[Vectors]:
    """Yield the reduced vectors, one shard at a time.

    Raises:
        ProfileError: A shard is not reduced yet.
    """
    home = to or folder
    for shard in range(n_shards):
        if not wide_path(folder, shard).is_file():
            continue
        if not narrow_path(home, shard).is_file():
            raise ProfileError(f"shard {shard} in {folder} is encoded but not reduced; reduce the shards first.")
        yield read_vectors(narrow_path(home, shard))


def _samples(folder: Path, n_shards: int, size: int | None, seed: int) -> tuple[FloatArray, FloatArray]:
    """Vectors to fit on, the same share of every shard, and other vectors to measure the quality on.

    Where too few are left, both are the same. At most one shard and the samples are in memory.
    """
    paths = [wide_path(folder, shard) for shard in range(n_shards) if wide_path(folder, shard).is_file()]
    total = sum(pq.read_metadata(path).num_rows for path in paths)
    if not total:
        raise ProfileError(f"there are no vectors in {folder}; encode texts first.")
    share = 1.0 if size is None else min(1.0, size / total)
    random = np.random.default_rng(seed)
    fitted, held = [], []
    for path in paths:
        vectors = read_vectors(path).vectors
        order = random.permutation(len(vectors))
        n_fit, n_held = max(1, round(share * len(order))), -(-_MAX_HELD * len(order) // total)
        fitted.append(vectors[np.sort(order[:n_fit])])
        held.append(vectors[np.sort(order[n_fit : n_fit + n_held])])
    sample, others = np.concatenate(fitted), np.concatenate(held)
    return sample, others if len(others) >= _MIN_HELD else sample
