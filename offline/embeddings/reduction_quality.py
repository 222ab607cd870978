"""Reduction quality: how well reduced vectors keep the nearest neighbours, measured on a sample."""

from dataclasses import dataclass

import numpy as np

from retort.offline.embeddings.vectors import FloatArray

_SAMPLE = 1500
_NEIGHBORS = 10


@dataclass(frozen=True)
class ReductionQuality:
    """Quality of a reduction.

    Attributes:
        trustworthiness: 1 where no reduced neighbour was distant before (Venna and Kaski, 2001; scikit-learn's).
        neighbor_overlap: Share of the nearest neighbours that stay.
    """

    trustworthiness: float
    neighbor_overlap: float
    n_neighbors: int
    n_sample: int

    def line(self) -> str:
        """Return the quality as one line of text."""
        return (
            f"the reduction keeps {self.neighbor_overlap:.0%} of the {self.n_neighbors} nearest neighbours "
            f"(trustworthiness {self.trustworthiness:.3f}, on {self.n_sample} distinct vectors)"
        )


def measure_reduction(wide: FloatArray, narrow: FloatArray, seed: int) -> ReductionQuality | None:
    """Compare the neighbours before (by angle, as texts are compared) and after.

    Args:
        wide: Vectors before (N, E).
        narrow: Reduced vectors (N, P).

    Returns:
        The quality on the distinct vectors of a seeded sample; None for fewer than four.
    """
    from sklearn.manifold import trustworthiness
    from sklearn.neighbors import NearestNeighbors

    rows = np.random.default_rng(seed).permutation(len(wide))[:_SAMPLE]
    # equal vectors have no order of neighbours, whatever the reduction does
    rows = rows[np.sort(np.unique(wide[rows], axis=0, return_index=True)[1])]
    k = min(_NEIGHBORS, (len(rows) - 1) // 2)
    if k < 1:
        return None
    before, after = _unit(wide[rows]), narrow[rows]
    neighbors = [
        NearestNeighbors(n_neighbors=k).fit(vectors).kneighbors(return_distance=False) for vectors in (before, after)
    ]
    shared = [len(set(first) & set(second)) for first, second in zip(*neighbors, strict=True)]
    trust = float(trustworthiness(before, after, n_neighbors=k))
    return ReductionQuality(trust, float(np.mean(shared)) / k, k, len(rows))


def _unit(vectors: FloatArray) -> FloatArray:
    return (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)).astype(np.float32)
