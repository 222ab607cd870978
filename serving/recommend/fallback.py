"""Fallback rankings for when the student cannot rank: local, without network.

    student → partial history → session → similar items → popular in segment → popular → static list

The first three are the student over less complete histories (`user_context.py`); the others are in this module.
"""

import numpy as np

from retort.serving.catalogue.catalogue import Catalogue, UnitVectors
from retort.serving.recommend.ranking import FloatArray, Ranking
from retort.shared.base.schema import PAD
from retort.shared.model.item_index import most_popular
from retort.shared.model.sequences import IntArray

# Newest items of a history for which similar items are looked up.
RECENT_ITEMS = 5


def popular(catalogue: Catalogue, hidden: IntArray, depth: int, bias: FloatArray | None = None) -> Ranking:
    """Rank by popularity, log(1 + training events)."""
    if bias is not None:
        return top_k(catalogue.log_popularity + bias[0], hidden, depth)
    items = most_popular(catalogue.by_popularity, hidden, depth)
    return items, catalogue.log_popularity[items]


def similar(
    units: UnitVectors, anchors: IntArray, hidden: IntArray, depth: int, bias: FloatArray | None = None
) -> Ranking:
    """Rank by cosine similarity to the mean vector of the newest anchors.

    Args:
        anchors: Item indices of a history, oldest first; the last `RECENT_ITEMS` are used.
        hidden: Item indices to leave out.
        bias: (1, n_items + 1) addition to the scores.
    """
    scores = units @ units[anchors[-RECENT_ITEMS:]].mean(axis=0)
    scores[PAD] = -np.inf
    return top_k(scores if bias is None else scores + bias[0], hidden, depth)


def top_k(scores: FloatArray, hidden: IntArray, depth: int) -> Ranking:
    """Return the exact top of (n_items + 1,) scores without the hidden items; ties are in the order of the index."""
    scores = scores.astype(np.float32, copy=True)
    scores[hidden] = -np.inf
    scores[PAD] = -np.inf
    depth = min(depth, len(scores))
    # Lowest score that can be in the list; of the items that equal it, those with the lowest indices are taken.
    threshold = np.partition(scores, len(scores) - depth)[len(scores) - depth]
    candidates = np.flatnonzero(scores >= threshold)
    order = candidates[np.lexsort((candidates, -scores[candidates]))][:depth]
    order = order[~np.isneginf(scores[order])]
    return order.astype(np.int64), scores[order]
