"""How much of the neighbourhoods a map keeps, measured on a sample."""

from dataclasses import dataclass

import numpy as np

from retort.offline.embeddings.vectors import FloatArray

_SAMPLE = 1500
_NEIGHBORS = 10


@dataclass(frozen=True)
class ReductionQuality:
    """trustworthiness: 1 where no stranger became a neighbour; overlap: share of the neighbours that stayed."""

    trustworthiness: float
    neighbor_overlap: float
    n_neighbors: int
    n_sample: int

    def line(self) -> str:
        """One line for a person."""
        return (
            f"the map keeps {self.neighbor_overlap:.0%} of the {self.n_neighbors} nearest neighbours "
            f"(trustworthiness {self.trustworthiness:.3f}, on {self.n_sample} vectors)"
        )


def measure_reduction(wide: FloatArray, narrow: FloatArray, seed: int) -> ReductionQuality | None:
    """Compare neighbours before (by angle, as texts are compared) and after; None for fewer than four vectors."""
    from sklearn.manifold import trustworthiness
    from sklearn.neighbors import NearestNeighbors

    rows = np.random.default_rng(seed).permutation(len(wide))[:_SAMPLE]
    k = min(_NEIGHBORS, (len(rows) - 1) // 2)
    if k < 1:
        return None
    before, after = _unit(wide[rows]), narrow[rows]
    near = [NearestNeighbors(n_neighbors=k).fit(one).kneighbors(return_distance=False) for one in (before, after)]
    shared = [len(set(first) & set(second)) for first, second in zip(*near, strict=True)]
    trust = float(trustworthiness(before, after, n_neighbors=k))
    return ReductionQuality(trust, float(np.mean(shared)) / k, k, len(rows))


def _unit(vectors: FloatArray) -> FloatArray:
    return (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)).astype(np.float32)
