"""Co-occurrence-aware directions of item vectors: a linear map that is learnt in closed form from train histories.

Principal components keep what varies most among texts; these directions keep what items of one history share, so that
few dimensions say more about the next item. In the spirit of the co-occurrence-aware PCA of TF-LLMER,
https://arxiv.org/abs/2604.20490, and of spectral contrastive learning, https://arxiv.org/abs/2106.04156. The map needs
an item's text only, so it also serves items without events.

Shapes: V items with a vector, N n_items + 1, E width of the vectors, P whitened components, W width of the map.
"""

from typing import Any

import numpy as np

from retort.offline.data.ragged import Ragged
from retort.offline.data.split import Split
from retort.offline.embeddings.item_vectors import whiten_rows
from retort.offline.embeddings.vectors import Vectors
from retort.offline.teachers.config import CoOccurrenceConfig
from retort.offline.teachers.teacher import FloatArray
from retort.shared.base.errors import TeacherError

_SMOOTHING = 1.0  # of an item's co-occurrences, so that rare items do not decide the directions


def co_occurrence_vectors(split: Split, stored: Vectors, config: CoOccurrenceConfig) -> Vectors:
    """Map item vectors (V, E) to (V, W): whitened, rotated, and scaled by the co-occurrence of each direction.

    Args:
        split: Its train histories are read.
        stored: Vectors of the items, also of items that no user of the split has.
        config: The recipe's `[teacher.co_occurrence]`.

    Raises:
        TeacherError: No two items of one history have a vector.
    """
    white_VP = whiten_rows(stored.vectors, config.components, 1.0)
    row_N = np.full(len(split.item_index) + 1, -1)
    places = [split.item_index.index(item_id) or 0 for item_id in stored.ids]
    row_N[places] = np.arange(len(places))
    row_N[0] = -1
    counts_VV = _co_occurrences(split.train, row_N, len(stored.ids), config)
    if not counts_VV.nnz:
        raise TeacherError("no two items of one history have a vector, so nothing co-occurs; give the items a text.")
    agreement_PP = white_VP.T.astype(np.float64) @ (counts_VV @ white_VP) / len(white_VP)
    agreements, directions_PP = np.linalg.eigh((agreement_PP + agreement_PP.T) / 2)
    kept = np.argsort(-agreements)[: config.width]
    scales_W = (np.maximum(agreements[kept], 1e-9) / agreements[kept[0]]) ** config.power
    mapped: FloatArray = (white_VP @ directions_PP[:, kept] * scales_W).astype(np.float32)
    return Vectors(stored.ids, mapped / np.sqrt((mapped**2).sum(1).mean()))


def _co_occurrences(train: Ragged, row_N: Any, n_rows: int, config: CoOccurrenceConfig) -> Any:
    """Symmetric sparse co-occurrences (V, V), each divided by the roots of both items' smoothed totals."""
    from scipy.sparse import csr_matrix, diags

    rows_E, users_E = row_N[train.values], np.repeat(np.arange(len(train)), train.lengths)
    counts = csr_matrix((n_rows, n_rows), dtype=np.float64)
    for lag in range(1, config.window + 1):
        first, second = rows_E[:-lag], rows_E[lag:]
        there = (users_E[:-lag] == users_E[lag:]) & (first >= 0) & (second >= 0)
        weights = np.full(int(there.sum()), config.decay ** (lag - 1))
        counts = counts + csr_matrix((weights, (first[there], second[there])), shape=counts.shape)
    counts = counts + counts.T
    scale = diags((np.asarray(counts.sum(1)).ravel() + _SMOOTHING) ** -0.5)
    return (scale @ counts @ scale).tocsr()
