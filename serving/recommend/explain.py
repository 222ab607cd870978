"""Why an item is in the list, without asking any model: the nearest items of the history, by the student's vectors, and
the themes of the user's profile that the item carries."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from retort.serving.catalogue.catalogue import Catalogue
from retort.serving.schemas.responses import Source
from retort.shared.history.themes import Theme
from retort.shared.model.sequences import IntArray

_LOOK_BACK = 100
_AT_MOST = 2
_PARTS = re.compile(r"\s*(?:>|\|)\s*")  # as profiles take categories apart: a > b, a|b


def explain(
    catalogue: Catalogue,
    items: list[int],
    pinned: frozenset[int],
    history: IntArray,
    source: Source,
    themes: Sequence[Theme] = (),
) -> list[dict[str, Any] | None]:
    """One reason for each item; `themes` only where the item carries one."""
    recent = np.array(list(dict.fromkeys(history[::-1].tolist()))[:_LOOK_BACK], dtype=np.int64)
    units = catalogue.unit_vectors
    personal = source not in (Source.POPULAR, Source.POPULAR_SEGMENT) and units is not None and len(recent) > 0
    reasons: list[dict[str, Any] | None] = []
    for item in items:
        if item in pinned:
            reason: dict[str, Any] = {"kind": "pinned"}
        elif not personal:
            reason = {"kind": "popular"}
        else:
            assert units is not None
            reason = _because(catalogue, units[recent] @ units[item], recent)
        carried = _carried(catalogue, item, themes)
        reasons.append({**reason, "themes": carried} if carried else reason)
    return reasons


def _because(catalogue: Catalogue, likeness: np.ndarray, recent: IntArray) -> dict[str, Any]:
    nearest = [place for place in np.argsort(-likeness, kind="stable")[:_AT_MOST] if likeness[place] > 0]
    because = [
        {"item_id": catalogue.ids[int(recent[place])], "likeness": round(float(likeness[place]), 4)}
        for place in nearest
    ]
    return {"kind": "like_your_history" if because else "fits_your_sequence", "because": because}


def _carried(catalogue: Catalogue, item: int, themes: Sequence[Theme]) -> list[str]:
    """The themes that are values of the item's own attributes, the strongest first."""
    fields = catalogue.fields(item, [theme.attribute for theme in themes]) if themes else {}
    words = {name: _words(value) for name, value in fields.items()}
    return [theme.value for theme in themes if theme.value in words.get(theme.attribute, ())]


def _words(value: Any) -> frozenset[str]:
    if isinstance(value, str):
        return frozenset(part.strip() for part in _PARTS.split(value))
    return frozenset(value) if isinstance(value, list) else frozenset()
