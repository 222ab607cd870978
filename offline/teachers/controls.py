"""Control arms: teachers that look like the profiles' and know less, so that a gain can be told from regularisation.

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
    """(n,): whose knowledge each row gets. With two that have some or more, nobody keeps their own."""
    rows = np.flatnonzero(present)
    if len(rows) < 2:
        raise TeacherError(f"a shuffled control wants at least two rows with knowledge; here are {len(rows)}.")
    order = np.random.default_rng(seed).permutation(rows)
    whose = np.arange(len(present))
    # one round through a random order: a plain permutation would leave some users their own vector
    whose[order] = np.roll(order, 1)
    return whose


def shuffled(vectors: FloatArray, present: BoolArray, seed: int) -> FloatArray:
    """Those who have a vector trade theirs."""
    return vectors[derangement(present, seed)]


def gaussian(vectors: FloatArray, present: BoolArray, seed: int) -> FloatArray:
    """Noise with the mean and the variance that each component has among the users who have a vector."""
    known = vectors[present]
    rng = np.random.default_rng(seed)
    noise = np.zeros_like(vectors)
    noise[present] = rng.normal(known.mean(axis=0), known.std(axis=0), known.shape).astype(np.float32)
    return noise


def history_mean(train: Ragged, item_vectors: FloatArray, has_item: BoolArray) -> tuple[FloatArray, BoolArray]:
    """Mean of the item text vectors (n_items + 1, E) over each train row: (n_users, E), and who has such an item."""
    counts = _counts(train, len(item_vectors))
    total = counts @ (item_vectors * has_item[:, None])
    n_known = counts @ has_item.astype(np.float32)
    mean = total / np.maximum(n_known, 1.0)[:, None]
    return mean.astype(np.float32), n_known > 0


def history_pca(train: Ragged, n_items: int, n_components: int, seed: int) -> tuple[FloatArray, BoolArray]:
    """Truncated SVD of the users' item multi-hot, each row of length 1: (n_users, n_components)."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.preprocessing import normalize

    n_used = len(np.unique(train.values))
    if n_components >= min(len(train), n_used):
        raise TeacherError(
            f"[teacher] n_components = {n_components} is too much for {len(train)} users and {n_used} items; lower it."
        )
    counts = _counts(train, n_items + 1)
    counts.data[:] = 1.0
    reduced = TruncatedSVD(n_components=n_components, random_state=seed).fit_transform(normalize(counts))
    return reduced.astype(np.float32), train.lengths > 0


def _counts(train: Ragged, width: int) -> Any:
    """Sparse (n_users, width): how often each user chose each item."""
    from scipy.sparse import csr_matrix

    ones: NDArray[np.float32] = np.ones(len(train.values), np.float32)
    matrix = csr_matrix((ones, train.values, train.offsets), shape=(len(train), width))
    matrix.sum_duplicates()
    return matrix
