"""What a student must beat to be worth serving: rankers that need a matrix and no training loop.

Shapes: B cases, N n_items + 1, K list length.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from retort.offline.data.ragged import Ragged
from retort.offline.data.split import Split, train_popularity
from retort.offline.evaluation.evaluate import PopularityRanker, Ranker
from retort.shared.base.errors import DataError
from retort.shared.base.schema import PAD
from retort.shared.model.sequences import IntArray

EASE_LIMIT_ITEMS = 20_000  # two dense squares in float32: 3.2 GB
_EASE_PENALTY = 250.0
_NEIGHBOURS = 100
_SHRINK = 20.0


class WeightsRanker:
    """Scores are the sums of the history's rows in an item × item matrix, dense or sparse."""

    def __init__(self, weights_NN: Any) -> None:
        self._weights_NN = weights_NN

    def top_k(self, histories: list[IntArray], k: int, hidden: list[IntArray], users: IntArray) -> IntArray:
        """(B, K) item indexes; where nothing speaks for an item it may still fill a list up, as zeros do."""
        chosen_BN = interactions(Ragged.of(histories), self._weights_NN.shape[0])
        scores = chosen_BN @ self._weights_NN
        scores_BN: NDArray[np.float32] = np.asarray(scores.todense() if hasattr(scores, "todense") else scores)
        for row, seen in zip(scores_BN, hidden, strict=True):
            row[seen] = -np.inf
        scores_BN[:, PAD] = -np.inf
        return _best(scores_BN, min(k, scores_BN.shape[1]), k)


def _best(scores_BN: NDArray[np.float32], n_found: int, k: int) -> IntArray:
    front = np.argpartition(-scores_BN, n_found - 1, axis=1)[:, :n_found]
    order = np.argsort(-np.take_along_axis(scores_BN, front, 1), axis=1, kind="stable")
    found = np.take_along_axis(front, order, 1)
    lists = np.full((len(scores_BN), k), PAD, dtype=np.int64)
    lists[:, :n_found] = np.where(np.isneginf(np.take_along_axis(scores_BN, found, 1)), PAD, found)
    return lists


def interactions(rows: Ragged, width: int) -> Any:
    """Sparse float32 (rows, width) of ones: who chose what, however often."""
    from scipy.sparse import csr_matrix

    ones = np.ones(len(rows.values), np.float32)
    matrix = csr_matrix((ones, rows.values, rows.offsets), shape=(len(rows), width))
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


def ease(split: Split, penalty: float = _EASE_PENALTY) -> WeightsRanker:
    """EASE, https://arxiv.org/abs/1905.03375: the closed form. DataError for a catalogue that would not fit."""
    n_items = len(split.item_index)
    if n_items > EASE_LIMIT_ITEMS:
        raise DataError(
            f"EASE inverts a dense {n_items:,} × {n_items:,} matrix; beyond {EASE_LIMIT_ITEMS:,} items take it out of "
            "the floors."
        )
    from scipy.linalg import lapack

    chosen = interactions(split.train, n_items + 1)[:, 1:]
    gram = (chosen.T @ chosen).toarray().astype(np.float32)
    gram[np.diag_indices_from(gram)] += penalty
    factor, failed = lapack.spotrf(gram, lower=1, overwrite_a=1)
    inverse, failed_too = lapack.spotri(factor, lower=1, overwrite_c=1)
    if failed or failed_too:
        raise DataError("EASE's matrix could not be inverted; take it out of the floors.")
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    weights = inverse / -np.diag(inverse)[None, :]
    np.fill_diagonal(weights, 0.0)
    return WeightsRanker(np.pad(weights, ((1, 0), (1, 0))))


def item_knn(split: Split, neighbours: int = _NEIGHBOURS, shrink: float = _SHRINK) -> WeightsRanker:
    """Cosine of the items' users, shrunk where few users speak, each item's nearest neighbours alone."""
    from scipy.sparse import csr_matrix, diags

    chosen = interactions(split.train, len(split.item_index) + 1)
    together = (chosen.T @ chosen).tocsr()
    lengths = np.sqrt(np.maximum(together.diagonal(), 1.0))
    cosine = (diags(1 / lengths) @ together @ diags(1 / lengths)).tocsr()
    together.data = together.data / (together.data + shrink)
    shrunk = cosine.multiply(together).tolil()
    shrunk.setdiag(0.0)
    return WeightsRanker(_strongest(csr_matrix(shrunk, dtype=np.float32), neighbours))


def _strongest(matrix: Any, count: int) -> Any:
    """Only the `count` greatest entries of each row."""
    for row in range(matrix.shape[0]):
        values = matrix.data[matrix.indptr[row] : matrix.indptr[row + 1]]
        if len(values) > count:
            values[np.argpartition(-values, count)[count:]] = 0.0
    matrix.eliminate_zeros()
    return matrix


def baseline_ranker(name: str, split: Split) -> Ranker:
    """A floor by name: popularity, item_knn, ease."""
    match name:
        case "popularity":
            return PopularityRanker(train_popularity(split))
        case "item_knn":
            return item_knn(split)
        case "ease":
            return ease(split)
    raise DataError(f"there is no floor {name!r}; there are: popularity, item_knn, ease.")
