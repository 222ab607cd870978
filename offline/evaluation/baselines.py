"""Baselines without a training loop: popularity, item-kNN and EASE. A student worth serving beats them.

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
    """Ranking by the sum of the history's rows in an item × item weight matrix, dense or sparse."""

    def __init__(self, weights_NN: Any) -> None:
        self._weights_NN = weights_NN

    def top_k(self, histories: list[IntArray], k: int, hidden: list[IntArray], users: IntArray) -> IntArray:
        """Rank by weight; item indexes (B, K). Items of weight 0 fill up a list."""
        chosen_BN = interaction_matrix(Ragged.of(histories), self._weights_NN.shape[0])
        scores = chosen_BN @ self._weights_NN
        scores_BN: NDArray[np.float32] = np.asarray(scores.todense() if hasattr(scores, "todense") else scores)
        for row, seen in zip(scores_BN, hidden, strict=True):
            row[seen] = -np.inf
        scores_BN[:, PAD] = -np.inf
        return _best_items(scores_BN, min(k, scores_BN.shape[1]), k)


def _best_items(scores_BN: NDArray[np.float32], n_found: int, k: int) -> IntArray:
    front = np.argpartition(-scores_BN, n_found - 1, axis=1)[:, :n_found]
    order = np.argsort(-np.take_along_axis(scores_BN, front, 1), axis=1, kind="stable")
    found = np.take_along_axis(front, order, 1)
    lists = np.full((len(scores_BN), k), PAD, dtype=np.int64)
    lists[:, :n_found] = np.where(np.isneginf(np.take_along_axis(scores_BN, found, 1)), PAD, found)
    return lists


def interaction_matrix(rows: Ragged, width: int) -> Any:
    """Build the sparse binary float32 matrix (rows, width) of the chosen items; repeated events count once."""
    from scipy.sparse import csr_matrix

    ones = np.ones(len(rows.values), np.float32)
    matrix = csr_matrix((ones, rows.values, rows.offsets), shape=(len(rows), width))
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


def ease(split: Split, penalty: float = _EASE_PENALTY) -> WeightsRanker:
    """Fit EASE (arXiv 1905.03375) in closed form.

    Args:
        split: Its train part is read.
        penalty: L2 penalty of the weights.

    Raises:
        DataError: The catalogue has more than EASE_LIMIT_ITEMS items, or the matrix cannot be inverted.
    """
    n_items = len(split.item_index)
    if n_items > EASE_LIMIT_ITEMS:
        raise DataError(
            f"EASE inverts a dense {n_items:,} × {n_items:,} matrix; beyond {EASE_LIMIT_ITEMS:,} items remove it from "
            "the experiment's floors."
        )
    from scipy.linalg import lapack

    chosen = interaction_matrix(split.train, n_items + 1)[:, 1:]
    gram = (chosen.T @ chosen).toarray().astype(np.float32)
    gram[np.diag_indices_from(gram)] += penalty
    factor, failed = lapack.spotrf(gram, lower=1, overwrite_a=1)
    inverse, failed_too = lapack.spotri(factor, lower=1, overwrite_c=1)
    if failed or failed_too:
        raise DataError("EASE's matrix could not be inverted; remove it from the experiment's floors.")
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    weights = inverse / -np.diag(inverse)[None, :]
    np.fill_diagonal(weights, 0.0)
    return WeightsRanker(np.pad(weights, ((1, 0), (1, 0))))


def item_knn(split: Split, neighbours: int = _NEIGHBOURS, shrink: float = _SHRINK) -> WeightsRanker:
    """Fit item-kNN: the cosine of the items' users, shrunk where few users chose both, for the nearest neighbours.

    Args:
        split: Its train part is read.
        neighbours: Number of neighbours of each item.
        shrink: Number of common users at which the cosine is halved.
    """
    from scipy.sparse import csr_matrix, diags

    chosen = interaction_matrix(split.train, len(split.item_index) + 1)
    common = (chosen.T @ chosen).tocsr()
    lengths = np.sqrt(np.maximum(common.diagonal(), 1.0))
    cosine = (diags(1 / lengths) @ common @ diags(1 / lengths)).tocsr()
    common.data = common.data / (common.data + shrink)
    shrunk = cosine.multiply(common).tolil()
    shrunk.setdiag(0.0)
    return WeightsRanker(_keep_largest(csr_matrix(shrunk, dtype=np.float32), neighbours))


def _keep_largest(matrix: Any, count: int) -> Any:
    """Keep the `count` largest entries of each row."""
    for row in range(matrix.shape[0]):
        values = matrix.data[matrix.indptr[row] : matrix.indptr[row + 1]]
        if len(values) > count:
            values[np.argpartition(-values, count)[count:]] = 0.0
    matrix.eliminate_zeros()
    return matrix


def baseline_ranker(name: str, split: Split) -> Ranker:
    """Fit a baseline by name: popularity, item_knn or ease.

    Raises:
        DataError: The name is unknown, or EASE cannot be fitted.
    """
    match name:
        case "popularity":
            return PopularityRanker(train_popularity(split))
        case "item_knn":
            return item_knn(split)
        case "ease":
            return ease(split)
    raise DataError(f"there is no baseline {name!r}; name popularity, item_knn or ease.")
