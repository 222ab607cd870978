"""Ranked lists of many users from one bundle, equal to those of the server."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from retort.shared.model.bundle import Bundle
from retort.shared.model.item_index import by_popularity, most_popular, popularity_scores
from retort.shared.model.sequences import IntArray

SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("score", pa.float32()),
        ("rank", pa.int32()),
        ("source", pa.string()),
    ]
)

_Ranked = tuple[IntArray, NDArray[np.float32]]


class BatchRecommender:
    """Ranked lists from one bundle: the student's for users with a history, popular items for the others."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._scorer = bundle.scorer()
        self._order = by_popularity(bundle.popularity)
        self._scores = popularity_scores(bundle.popularity)

    def table(self, user_ids: list[str], histories: list[list[str]], k: int) -> pa.Table:
        """The ranked lists as rows of user_id, item_id, score, rank (from 1) and source; users in the given order."""
        known = [self._bundle.item_index.indexes(history) for history in histories]
        with_history = [row for row, history in enumerate(known) if len(history)]
        lists: list[_Ranked | None] = [None] * len(known)
        if with_history:
            own = [known[row] for row in with_history]
            hidden = own if self._bundle.hides_seen else [np.zeros(0, dtype=np.int64)] * len(own)
            ranked = self._scorer.top_k([self._bundle.newest(history) for history in own], k, hidden=hidden)
            for place, row in enumerate(with_history):
                lists[row] = ranked.row(place)
        parts = [self._rows(*pair, k) for pair in zip(user_ids, lists, strict=True)]
        return pa.concat_tables(parts)

    def _rows(self, user_id: str, student: _Ranked | None, k: int) -> pa.Table:
        items, scores = student if student is not None else self._popular(k)
        n_items, source = len(items), "popular" if student is None else "student"
        item_ids = [self._bundle.item_index.id(item) for item in items.tolist()]
        ranks = np.arange(1, n_items + 1, dtype=np.int32)
        return pa.table([[user_id] * n_items, item_ids, scores, ranks, [source] * n_items], schema=SCHEMA)

    def _popular(self, k: int) -> _Ranked:
        items = most_popular(self._order, np.zeros(0, dtype=np.int64), k)
        return items, self._scores[items]
