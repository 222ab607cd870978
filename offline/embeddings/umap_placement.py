"""Places of new vectors in a fitted UMAP, each computed from the vector alone.

UMAP's own `transform` moves new points by stochastic steps that depend on all points of the call, so that a vector's
place depends on its company. Here a new vector is placed at the mean of its nearest neighbours of the fit, weighted by
their membership strength. This is the point from which UMAP's steps start. A vector of the fit keeps its place.

Shapes: N fitted vectors, Q new vectors, E width before, P width after, K neighbours.
"""

from typing import Any, Literal

import numpy as np

from retort.offline.embeddings.vectors import FloatArray, normalize_rows

_ROWS_AT_ONCE = 4096
_BISECTIONS = 60
# vectors that are nearer are the same vector, up to rounding
_SAME = 1e-6


def place_vectors(umap: Any, metric: Literal["cosine", "euclidean"], vectors: FloatArray) -> FloatArray:
    """Place new vectors (Q, E) in a fitted UMAP.

    Returns:
        The places (Q, P); each depends on its own vector only.
    """
    from sklearn.neighbors import NearestNeighbors

    prepared = normalize_rows if metric == "cosine" else _unchanged
    index = NearestNeighbors(n_neighbors=int(umap._n_neighbors), algorithm="brute").fit(prepared(umap._raw_data))
    places = []
    for first in range(0, len(vectors), _ROWS_AT_ONCE):
        part = prepared(vectors[first : first + _ROWS_AT_ONCE])
        distances_QK, neighbours_QK = index.kneighbors(part)
        if metric == "cosine":
            distances_QK = distances_QK**2 / 2  # of unit vectors
        same = _SAME if metric == "cosine" else _SAME * np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12)
        weights_QK = _membership(distances_QK, same)
        places.append(np.einsum("qk,qkp->qp", weights_QK, umap.embedding_[neighbours_QK]))
    return np.concatenate(places).astype(np.float32)


def unite_equal(vectors: FloatArray, places: FloatArray) -> FloatArray:
    """Give equal vectors (N, E) one place: the mean of theirs (N, P)."""
    _, group_N, counts = np.unique(vectors, axis=0, return_inverse=True, return_counts=True)
    group_N = group_N.reshape(-1)
    if len(counts) == len(vectors):
        return places
    sums = np.zeros((len(counts), places.shape[1]))
    np.add.at(sums, group_N, places)
    united: FloatArray = (sums / counts[:, None])[group_N].astype(np.float32)
    return united


def _membership(distances_QK: Any, same: Any) -> Any:
    """Weights (Q, K) that sum to 1: exp(−distance / σ), with σ such that their sum is log2 K as in UMAP."""
    is_same_QK = distances_QK <= same
    target = max(np.log2(distances_QK.shape[1]), 1.0)
    scale_Q1 = np.maximum(distances_QK.mean(axis=1, keepdims=True), 1e-12)
    low_Q1, high_Q1 = np.log(1e-4 * scale_Q1), np.log(1e4 * scale_Q1)
    for _ in range(_BISECTIONS):
        middle_Q1 = (low_Q1 + high_Q1) / 2
        too_wide_Q1 = np.exp(-distances_QK / np.exp(middle_Q1)).sum(axis=1, keepdims=True) > target
        low_Q1, high_Q1 = np.where(too_wide_Q1, low_Q1, middle_Q1), np.where(too_wide_Q1, middle_Q1, high_Q1)
    nearest_Q1 = distances_QK.min(axis=1, keepdims=True)
    weights_QK = np.exp(-(distances_QK - nearest_Q1) / np.exp(low_Q1))
    weights_QK = np.where(is_same_QK.any(axis=1, keepdims=True), is_same_QK, weights_QK)
    return weights_QK / weights_QK.sum(axis=1, keepdims=True)


def _unchanged(vectors: FloatArray) -> FloatArray:
    return np.asarray(vectors, dtype=np.float32)
