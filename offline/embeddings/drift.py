"""What a cloud of vectors looks like, in few numbers, and how far it has moved."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retort.offline.embeddings.vectors import FloatArray
from retort.shared.base.errors import ProfileError

Float64Array = NDArray[np.float64]

MAX_SHIFT = 0.5  # standard deviations, mean over the components
MAX_SPREAD = 0.35  # log of the ratio of the total variances


@dataclass(frozen=True)
class DriftStatistics:
    """Count, mean (E,) and variance (E,) of vectors."""

    n: int
    mean: Float64Array
    variance: Float64Array

    @classmethod
    def of(cls, vectors: FloatArray) -> "DriftStatistics":
        """The space of (N, E) vectors."""
        wide = vectors.astype(np.float64)
        return cls(len(wide), wide.mean(axis=0), wide.var(axis=0))


@dataclass(frozen=True)
class Drift:
    """shift: mean distance of the means, in standard deviations; spread: log ratio of the total variances."""

    shift: float
    spread: float

    @property
    def refit(self) -> bool:
        """Whether the map should be fitted anew."""
        return self.shift > MAX_SHIFT or abs(self.spread) > MAX_SPREAD

    def line(self) -> str:
        """One clause for a person."""
        return f"means by {self.shift:.2f} standard deviations, variance by a factor of {np.exp(self.spread):.2f}"


def measure_drift(then: DriftStatistics, now: Sequence[DriftStatistics]) -> Drift:
    """How far the union of several parts lies from what was."""
    union = _union(now)
    if len(union.mean) != len(then.mean):
        raise ProfileError(
            f"vectors are {len(union.mean)} wide and the map was fitted on {len(then.mean)}: another encoder; fit anew."
        )
    # errors of the sample's own mean are no drift
    scale = np.sqrt(np.maximum(then.variance, 1e-12))
    noise = np.sqrt(1.0 / then.n + 1.0 / union.n)
    shift = np.maximum(0.0, np.abs(union.mean - then.mean) / scale - noise).mean()
    spread = np.log(max(union.variance.sum(), 1e-12) / max(then.variance.sum(), 1e-12))
    return Drift(float(shift), float(spread))


def _union(parts: Sequence[DriftStatistics]) -> DriftStatistics:
    if not parts:
        raise ProfileError("there are no vectors to measure; encode first.")
    counts = np.array([part.n for part in parts], dtype=np.float64)
    total = counts.sum()
    mean = sum(part.mean * part.n for part in parts) / total
    square = sum((part.variance + part.mean**2) * part.n for part in parts) / total
    return DriftStatistics(int(total), np.asarray(mean), np.asarray(square - mean**2))


def write_drift_statistics(path: Path, space: DriftStatistics) -> None:
    """As JSON."""
    said = {"n": space.n, "mean": space.mean.tolist(), "variance": space.variance.tolist()}
    path.write_text(json.dumps(said), encoding="utf-8")


def read_drift_statistics(path: Path) -> DriftStatistics:
    """What `write_space` wrote."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProfileError(f"there is no {path}; fit the map first.") from None
    return DriftStatistics(said["n"], np.array(said["mean"]), np.array(said["variance"]))
