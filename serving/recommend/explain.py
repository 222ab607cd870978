"""Explanations without a model: the most similar items of the history with what both are known for, and themes of the
profile that the item has.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from retort.serving.catalogue.catalogue import Catalogue
from retort.serving.schemas.responses import Source
from retort.shared.base.schema import KNOWLEDGE
from retort.shared.history.themes import Theme
from retort.shared.model.sequences import IntArray

_MAX_HISTORY = 100
_MAX_REASONS = 2
_MAX_SHARED = 3
_PHRASES = re.compile(r"[,;.\n]")
_PARTS = re.compile(r"\s*(?:>|\|)\s*")  # the separators of categories in profiles: a > b, a|b


def explain(
    catalogue: Catalogue,
    items: list[int],
    pinned: frozenset[int],
    history: IntArray,
    source: Source,
    themes: Sequence[Theme] = (),
) -> list[dict[str, Any] | None]:
    """Return one reason for each item.

    Args:
        items: Item indices of the list.
        history: Item indices, oldest first.
        themes: Themes of the user's profile, strongest first; a reason lists those that the item has.
    """
    recent = np.array(list(dict.fromkeys(history[::-1].tolist()))[:_MAX_HISTORY], dtype=np.int64)
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
            reason = _similar_history(catalogue, units[recent] @ units[item], recent)
            if KNOWLEDGE in catalogue.columns and (shared := _shared_phrases(catalogue, item, reason)):
                reason["shared"] = shared
        matching = _matching_themes(catalogue, item, themes)
        reasons.append({**reason, "themes": matching} if matching else reason)
    return reasons


def _similar_history(catalogue: Catalogue, similarity: np.ndarray, recent: IntArray) -> dict[str, Any]:
    nearest = [index for index in np.argsort(-similarity, kind="stable")[:_MAX_REASONS] if similarity[index] > 0]
    because = [
        {"item_id": catalogue.ids[int(recent[index])], "likeness": round(float(similarity[index]), 4)}
        for index in nearest
    ]
    return {"kind": "like_your_history" if because else "fits_your_sequence", "because": because}


def _shared_phrases(catalogue: Catalogue, item: int, reason: dict[str, Any]) -> list[str]:
    """Return phrases of the item's knowledge that also describe an item of the reason, in the order of the item's."""
    causes = [catalogue.index.index(cause["item_id"]) for cause in reason.get("because", ())]
    known = {phrase for cause in causes if cause is not None for phrase in _phrases(catalogue, cause)}
    return [phrase for phrase in _phrases(catalogue, item) if phrase in known][:_MAX_SHARED] if known else []


def _phrases(catalogue: Catalogue, item: int) -> list[str]:
    text = catalogue.fields(item, [KNOWLEDGE])[KNOWLEDGE] or ""
    return list(dict.fromkeys(part.strip().lower() for part in _PHRASES.split(text) if part.strip()))


def _matching_themes(catalogue: Catalogue, item: int, themes: Sequence[Theme]) -> list[str]:
    """Return the themes that are values of the item's attributes, strongest first."""
    fields = catalogue.fields(item, [theme.attribute for theme in themes]) if themes else {}
    words = {name: _words(value) for name, value in fields.items()}
    return [theme.value for theme in themes if theme.value in words.get(theme.attribute, ())]


def _words(value: Any) -> frozenset[str]:
    if isinstance(value, str):
        return frozenset(part.strip() for part in _PARTS.split(value))
    return frozenset(value) if isinstance(value, list) else frozenset()
