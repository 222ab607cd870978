"""Why an item is in the list, without asking any model: the nearest items of the history, by the student's vectors."""

from typing import Any

import numpy as np

from serving.answers import Source
from serving.catalogue import Catalogue
from shared.sequences import IntArray

_LOOK_BACK = 100
_AT_MOST = 2


def explain(
    catalogue: Catalogue, items: list[int], pinned: frozenset[int], history: IntArray, source: Source
) -> list[dict[str, Any] | None]:
    """One reason for each item."""
    recent = np.array(list(dict.fromkeys(history[::-1].tolist()))[:_LOOK_BACK], dtype=np.int64)
    units = catalogue.unit_vectors
    personal = source not in (Source.POPULAR, Source.POPULAR_SEGMENT) and units is not None and len(recent) > 0
    reasons: list[dict[str, Any] | None] = []
    for item in items:
        if item in pinned:
            reasons.append({"kind": "pinned"})
        elif not personal:
            reasons.append({"kind": "popular"})
        else:
            assert units is not None
            reasons.append(_because(catalogue, units[recent] @ units[item], recent))
    return reasons


def _because(catalogue: Catalogue, likeness: np.ndarray, recent: IntArray) -> dict[str, Any]:
    nearest = [place for place in np.argsort(-likeness, kind="stable")[:_AT_MOST] if likeness[place] > 0]
    because = [
        {"item_id": catalogue.ids[int(recent[place])], "likeness": round(float(likeness[place]), 4)}
        for place in nearest
    ]
    return {"kind": "like_your_history" if because else "fits_your_sequence", "because": because}
