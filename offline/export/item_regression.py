"""Ridge regression from text vectors to the item table of a student: table rows for new items.

The regression is fitted on the items that the student knows, each weighted by the square root of its train events,
because a row that was seen once is mostly noise. Predicted rows are too short, the shorter the less a text says.
Their lengths are replaced by the square roots (the full correction is worse on one data set, none on another:
docs/experiments.md). Then all rows are scaled by one factor, as far as the new items keep to their share of the places
in the bundle's golden requests. The golden requests are real histories, so what users choose is not crowded out.
"""

# Shapes: N n_items + 1, M new items, E width of a text vector, D embedding_dim, H golden requests, K places of a list,
#         P rows of the stored table

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from retort.offline.embeddings.vectors import FloatArray, Vectors
from retort.offline.export.precision import bundle_precision, encode
from retort.offline.export.topk_graph import grow_table
from retort.shared.base.errors import BundleError
from retort.shared.model.bundle import Bundle
from retort.shared.model.scoring import Scorer

_PENALTIES = tuple(float(10**power) for power in range(-2, 4))
_PLACES = 10
_SCALES = np.geomspace(0.05, 50, 400)


@dataclass(frozen=True)
class NewRows:
    """Table rows of new items.

    Attributes:
        ids: item_id of each row.
        rows_MD: The rows.
        fit: R² of the regression on known items, by leave-one-out.
        share: Share of the places of the golden requests' first ten that the new items take.
    """

    ids: list[str]
    rows_MD: FloatArray
    fit: float
    share: float


def new_rows(bundle: Bundle, vectors: Vectors, known: Any, share: float | None = None) -> NewRows:
    """Predict table rows for the text vectors that are not `known`, in their order.

    Args:
        bundle: Bundle of the student.
        vectors: Text vectors of known and new items.
        known: Mask of the vectors whose item the bundle knows.
        share: Largest share of the places in lists of ten that the new items may take; None: their share of the
            catalogue.

    Raises:
        BundleError: The bundle has no item vectors.
    """
    from sklearn.linear_model import RidgeCV

    table_ND = bundle.item_vectors
    if table_ND is None:
        raise BundleError(
            f"{bundle.path} has no item vectors to fit the regression on; "
            "train and export the student again with this version."
        )
    places = np.array(
        bundle.item_index.indexes([item_id for item_id, is_known in zip(vectors.ids, known, strict=True) if is_known])
    )
    own_KD, weights_K = table_ND[places], np.sqrt(np.maximum(bundle.popularity[places], 1.0))
    ridge = RidgeCV(_PENALTIES, store_cv_results=True).fit(vectors.vectors[known], own_KD, sample_weight=weights_K)
    rows_MD = _with_root_lengths(ridge.predict(vectors.vectors[~known]).astype(np.float32))
    wanted = len(rows_MD) / (len(rows_MD) + bundle.manifest.n_items) if share is None else share
    factor, taken = _scale(bundle, rows_MD, wanted)
    ids = [item_id for item_id, is_known in zip(vectors.ids, known, strict=True) if not is_known]
    return NewRows(ids, rows_MD * np.float32(factor), _left_out_fit(ridge, own_KD, weights_K), taken)


def _with_root_lengths(rows_MD: FloatArray) -> FloatArray:
    """Replace each row's length by its square root, and keep the direction."""
    lengths_M1 = np.maximum(np.linalg.norm(rows_MD, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    shortened: FloatArray = rows_MD / np.sqrt(lengths_M1)
    return shortened


def grown_scorer(bundle: Bundle, rows_MD: FloatArray) -> Scorer:
    """Return a scorer of the bundle's student with these items appended to its own."""
    graph, table_PD = grown_graph(bundle, rows_MD)
    n_items = bundle.manifest.n_items + len(rows_MD)
    return Scorer(graph, n_items=n_items, max_length=bundle.manifest.max_length, table=table_PD)


def grown_graph(bundle: Bundle, rows_MD: FloatArray) -> tuple[bytes, FloatArray]:
    """Return the bundle's graph with these items appended, and the item table (P, D), decoded."""
    assert bundle.item_vectors is not None
    model = onnx.load_from_string(bundle.graph)
    rows_MD = encode(rows_MD, bundle_precision(bundle.path)).decoded()
    stored_PD = grow_table(model, np.concatenate([bundle.item_vectors, rows_MD]))
    return model.SerializeToString(), stored_PD


def _scale(bundle: Bundle, rows_MD: FloatArray, share: float) -> tuple[float, float]:
    """Return the largest factor with which the rows take at most `share` of the places, and the share that they take.

    Scores are linear in the rows, so one pass of the student gives the scores for all factors.
    """
    n_known, n_new = bundle.manifest.n_items, len(rows_MD)
    scorer, index = grown_scorer(bundle, rows_MD), bundle.item_index
    known, new = np.arange(1, n_known + 1), np.arange(n_known + 1, n_known + n_new + 1)
    histories = [np.array(index.indexes(request.history), dtype=np.int64) for request in bundle.golden]
    n_places = min(_PLACES, n_known)
    best_HK = scorer.top_k(histories, n_places, hidden=[np.concatenate([new, seen]) for seen in histories]).scores_BK
    new_HK = scorer.top_k(histories, min(n_places, n_new), hidden=[known] * len(histories)).scores_BK
    taken = np.array([_places_taken(best_HK, factor * new_HK) for factor in _SCALES])
    within = np.flatnonzero(taken <= share)
    chosen = int(within[-1]) if len(within) else int(taken.argmin())
    return float(_SCALES[chosen]), float(taken[chosen])


def _places_taken(best_HK: FloatArray, new_HK: FloatArray) -> float:
    """Return the share of places that go to new items, where each list keeps its best K."""
    ranked = np.argsort(-np.concatenate([best_HK, new_HK], axis=1), axis=1, kind="stable")
    return float((ranked[:, : best_HK.shape[1]] >= best_HK.shape[1]).mean())


def _left_out_fit(ridge: Any, own_KD: FloatArray, weights_K: Any) -> float:
    """Return 1 − squared error of left-out rows / their variance, both weighted as in the fit."""
    best = _PENALTIES.index(float(ridge.alpha_))
    # the stored errors are of rows scaled by the square root of their weight
    errors = float(ridge.cv_results_[:, :, best].sum())
    mean_D = np.average(own_KD, axis=0, weights=weights_K)
    return 1.0 - errors / float((weights_K[:, None] * (own_KD - mean_D) ** 2).sum())
