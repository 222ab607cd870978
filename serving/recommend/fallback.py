"""What answers when the student cannot: cheap, local, no network, always something.

    student → partial history → session → similar items → popular in segment → popular → static list

The first three are the student over ever poorer histories (`serving/recommend/user_context.py`); the others are here.
"""

import numpy as np

from retort.serving.catalogue.catalogue import Catalogue, UnitVectors
from retort.serving.recommend.ranking import FloatArray, Ranking
from retort.shared.base.schema import PAD
from retort.shared.model.popularity import most_popular
from retort.shared.model.sequences import IntArray

# The newest items of a history that similar items are looked up for.
RECENT_ITEMS = 5


def popular(catalogue: Catalogue, hidden: IntArray, depth: int, bias: FloatArray | None = None) -> Ranking:
    """The most popular items, scored by log(1 + train events)."""
    if bias is not None:
        return best(catalogue.log_popularity + bias[0], hidden, depth)
    items = most_popular(catalogue.by_popularity, hidden, depth)
    return items, catalogue.log_popularity[items]


def similar(
    units: UnitVectors, anchors: IntArray, hidden: IntArray, depth: int, bias: FloatArray | None = None
) -> Ranking:
    """The items nearest to the newest anchors by the student's own vectors."""
    scores = units @ units[anchors[-RECENT_ITEMS:]].mean(axis=0)
    scores[PAD] = -np.inf
    return best(scores if bias is None else scores + bias[0], hidden, depth)


def best(scores: FloatArray, hidden: IntArray, depth: int) -> Ranking:
    """Exact top of (n_items + 1,) scores without the hidden; equal scores in the order of their index."""
    scores = scores.astype(np.float32, copy=True)
    scores[hidden] = -np.inf
    scores[PAD] = -np.inf
    depth = min(depth, len(scores))
    # The worst score that can be in; everything above it, and of those equal to it the lowest indexes.
    edge = np.partition(scores, len(scores) - depth)[len(scores) - depth]
    above = np.flatnonzero(scores >= edge)
    order = above[np.lexsort((above, -scores[above]))][:depth]
    order = order[~np.isneginf(scores[order])]
    return order.astype(np.int64), scores[order]
