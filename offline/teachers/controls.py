"""Controls: teachers of the same form that know less, to distinguish a gain of knowledge from regularisation.

`shuffled` and `gaussian` know nothing of the user; `history_mean` and `history_pca` know the history, but no language
model. Every function returns new arrays.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from retort.offline.data.ragged import Ragged
from retort.offline.teachers.teacher import BoolArray, FloatArray, IntArray
from retort.shared.base.errors import TeacherError


def derangement(present: BoolArray, seed: int) -> IntArray:
    """Return a random derangement of the rows with knowledge: the source row (n,) of each row.

    Raises:
        TeacherError: Fewer than two rows have knowledge.
    """
    rows = np.flatnonzero(present)
    if len(rows) < 2:
        raise TeacherError(f"a shuffled control requires at least two rows with knowledge, and there are {len(rows)}.")
    order = np.random.default_rng(seed).permutation(rows)
    whose = np.arange(len(present))
    # one cycle through a random order: a plain permutation would leave some users their own vector
    whose[order] = np.roll(order, 1)
    return whose


def shuffled(vectors: FloatArray, present: BoolArray, seed: int) -> FloatArray:
    """Return the vectors exchanged among the rows that have one."""
    return vectors[derangement(present, seed)]


def gaussian(vectors: FloatArray, present: BoolArray, seed: int) -> FloatArray:
    """Return Gaussian noise with the mean and variance of each component over the present rows."""
    known = vectors[present]
    rng = np.random.default_rng(seed)
    noise = np.zeros_like(vectors)
    noise[present] = rng.normal(known.mean(axis=0), known.std(axis=0), known.shape).astype(np.float32)
    return noise


def history_mean(train: Ragged, item_vectors: FloatArray, has_item: BoolArray) -> tuple[FloatArray, BoolArray]:
    """Return the mean item vector (n_users, E) of each history, and a mask of the users who have one."""
    counts = _counts(train, len(item_vectors))
    total = counts @ (item_vectors * has_item[:, None])
    n_known = counts @ has_item.astype(np.float32)
    mean = total / np.maximum(n_known, 1.0)[:, None]
    return mean.astype(np.float32), n_known > 0


def history_pca(train: Ragged, n_items: int, n_components: int, seed: int) -> tuple[FloatArray, BoolArray]:
    """Return the truncated SVD (n_users, n_components) of normalised user-item rows, and a mask of the users."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.preprocessing import normalize

    n_used = len(np.unique(train.values))
    if n_components >= min(len(train), n_used):
        raise TeacherError(
            f"[teacher] n_components = {n_components} is too large for {len(train)} users and {n_used} items; lower it."
        )
    counts = _counts(train, n_items + 1)
    counts.data[:] = 1.0
    reduced = TruncatedSVD(n_components=n_components, random_state=seed).fit_transform(normalize(counts))
    return reduced.astype(np.float32), train.lengths > 0


def _counts(train: Ragged, width: int) -> Any:
    """Sparse counts (n_users, width) of each user's items."""
    from scipy.sparse import csr_matrix

    ones: NDArray[np.float32] = np.ones(len(train.values), np.float32)
    matrix = csr_matrix((ones, train.values, train.offsets), shape=(len(train), width))
    matrix.sum_duplicates()
    return matrix
