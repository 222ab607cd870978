"""Drift statistics: mean and variance of vectors, and how far they moved since a reducer was fitted."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retort.offline.embeddings.vectors import FloatArray
from retort.shared.base.errors import ProfileError

Float64Array = NDArray[np.float64]

MAX_SHIFT = 0.5  # standard deviations, averaged over the components
MAX_SPREAD = 0.35  # absolute log ratio of the total variances


@dataclass(frozen=True)
class DriftStatistics:
    """Count, mean (E,) and variance (E,) of a set of vectors."""

    n: int
    mean: Float64Array
    variance: Float64Array

    @classmethod
    def of(cls, vectors: FloatArray) -> "DriftStatistics":
        """Compute the statistics of vectors (N, E)."""
        wide = vectors.astype(np.float64)
        return cls(len(wide), wide.mean(axis=0), wide.var(axis=0))


@dataclass(frozen=True)
class Drift:
    """Difference between two sets of vectors.

    Attributes:
        shift: Mean distance of the means, in standard deviations.
        spread: Log ratio of the total variances.
    """

    shift: float
    spread: float

    @property
    def needs_refit(self) -> bool:
        """Whether the reducer should be fitted again."""
        return self.shift > MAX_SHIFT or abs(self.spread) > MAX_SPREAD

    def line(self) -> str:
        """Return the drift as one clause of text."""
        return f"means by {self.shift:.2f} standard deviations, variance by a factor of {np.exp(self.spread):.2f}"


def measure_drift(before: DriftStatistics, parts: Sequence[DriftStatistics]) -> Drift:
    """Compare earlier statistics with those of the union of several parts.

    Raises:
        ProfileError: There are no parts, or the widths differ.
    """
    union = _union(parts)
    if len(union.mean) != len(before.mean):
        raise ProfileError(
            f"the vectors have width {len(union.mean)} and the reducer was fitted on width {len(before.mean)}: the "
            "encoder has changed; fit the reducer again."
        )
    # the sampling error of the means is not drift
    scale = np.sqrt(np.maximum(before.variance, 1e-12))
    noise = np.sqrt(1.0 / before.n + 1.0 / union.n)
    shift = np.maximum(0.0, np.abs(union.mean - before.mean) / scale - noise).mean()
    spread = np.log(max(union.variance.sum(), 1e-12) / max(before.variance.sum(), 1e-12))
    return Drift(float(shift), float(spread))


def _union(parts: Sequence[DriftStatistics]) -> DriftStatistics:
    if not parts:
        raise ProfileError("there are no vectors to compare; encode texts first.")
    counts = np.array([part.n for part in parts], dtype=np.float64)
    total = counts.sum()
    mean = sum(part.mean * part.n for part in parts) / total
    square = sum((part.variance + part.mean**2) * part.n for part in parts) / total
    return DriftStatistics(int(total), np.asarray(mean), np.asarray(square - mean**2))


def write_drift_statistics(path: Path, statistics: DriftStatistics) -> None:
    """Write the statistics as JSON."""
    fields = {"n": statistics.n, "mean": statistics.mean.tolist(), "variance": statistics.variance.tolist()}
    path.write_text(json.dumps(fields), encoding="utf-8")


def read_drift_statistics(path: Path) -> DriftStatistics:
    """Read what `write_drift_statistics` wrote.

    Raises:
        ProfileError: The file is missing.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProfileError(f"there is no file {path}; fit the reducer first.") from None
    return DriftStatistics(fields["n"], np.array(fields["mean"]), np.array(fields["variance"]))
