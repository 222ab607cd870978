"""What a request means for one bundle: what is hidden, what is added to the scores, which rules shape the list.

Filters, candidates and boosts become one additive bias inside the ranking, so that `k` results come back whenever `k`
exist; nothing is cut from a finished list.
"""

from dataclasses import dataclass, field

import numpy as np

from retort.serving.catalogue.catalogue import Catalogue
from retort.serving.catalogue.filters import Mask
from retort.serving.recommend.ranking import FloatArray
from retort.serving.recommend.reranking import Cap, Rules
from retort.serving.schemas.paging import Hashes, read_token
from retort.serving.schemas.problems import Problem
from retort.serving.schemas.requests import RecommendRequest
from retort.shared.model.sequences import IntArray

_NONE_SHOWN: Hashes = np.zeros(0, dtype=np.uint32)
_NO_RULES = Rules()


@dataclass(frozen=True, slots=True)
class Plan:
    """A request, read against a catalogue."""

    k: int
    hidden: IntArray
    bias: FloatArray | None = None  # (1, n_items + 1)
    rules: Rules = _NO_RULES
    shown: Hashes = field(default_factory=lambda: _NONE_SHOWN)


def make_plan(
    request: RecommendRequest, catalogue: Catalogue, seen: IntArray, *, filtered: bool = True, segmented: bool = False
) -> Plan:
    """The plan; a filter, segment, cap or field that the bundle's items do not know is a 422.

    `filtered=False` leaves the request's filter out, for when nothing passes it and the caller is not strict;
    `segmented=True` lets in only the request's segment, for when nothing is known.
    """
    index = catalogue.index
    parts = [seen]
    if request.exclude:
        parts.append(index.indexes(request.exclude))
    if request.is_plain:
        return Plan(request.k, parts[0] if len(parts) == 1 else np.concatenate(parts))
    strange = [name for name in request.fields if name not in catalogue.field_names]
    if strange:
        known = ", ".join(catalogue.field_names) or "none"
        raise Problem(422, f"fields: items have no attribute {strange[0]!r}; they have: {known}")
    shown = read_token(request.next)
    if len(shown):
        parts.append(catalogue.hash_table.items_of(shown))
    hidden = np.concatenate(parts)
    bias = _bias(request, catalogue, _allowed(request, catalogue, filtered, segmented))
    return Plan(request.k, hidden, bias, _rules(request, catalogue, hidden, bias), shown)


def _bias(request: RecommendRequest, catalogue: Catalogue, allowed: Mask | None) -> FloatArray | None:
    if allowed is None and not request.boost and not request.bury:
        return None
    bias = np.zeros(catalogue.n_items + 1, dtype=np.float32)
    for weighting in request.boost:
        bias[catalogue.filters.mask(weighting.filter)] += weighting.by
    for weighting in request.bury:
        bias[catalogue.filters.mask(weighting.filter)] -= weighting.by
    if allowed is not None:
        bias[~allowed] = -np.inf
    return bias[None]


def _allowed(request: RecommendRequest, catalogue: Catalogue, filtered: bool, segmented: bool) -> Mask | None:
    """Who may come back at all; None: everybody."""
    allowed: list[Mask] = []
    # Both are read even when left out: what is wrong is told whoever asks.
    for where, conditions, holds in (("filter", request.filter, filtered), ("segment", request.segment, segmented)):
        if conditions is not None:
            mask = catalogue.filters.mask(conditions, where)
            allowed += [mask] if holds else []
    if request.candidates is not None:
        candidates = np.zeros(catalogue.n_items + 1, dtype=bool)
        candidates[catalogue.index.indexes(request.candidates)] = True
        allowed.append(candidates)
    return np.logical_and.reduce(allowed) if allowed else None


def _rules(request: RecommendRequest, catalogue: Catalogue, hidden: IntArray, bias: FloatArray | None) -> Rules:
    if request.diversity and catalogue.unit_vectors is None:
        raise Problem(422, "diversity: this bundle holds no item vectors to tell items apart by.")
    return Rules(
        caps=tuple(_cap(name, limit, catalogue) for name, limit in request.caps.items()),
        diversity=request.diversity,
        units=catalogue.unit_vectors if request.diversity else None,
        pins=_pins(request, catalogue, hidden, bias),
    )


def _cap(name: str, limit: int, catalogue: Catalogue) -> Cap:
    attribute = catalogue.attributes.get(name)
    if attribute is None:
        known = ", ".join(catalogue.attributes.names) or "none"
        raise Problem(422, f"caps: items have no attribute {name!r}; they have: {known}")
    return Cap(attribute, limit)


def _pins(
    request: RecommendRequest, catalogue: Catalogue, hidden: IntArray, bias: FloatArray | None
) -> tuple[tuple[int, int], ...]:
    """Pins that may be shown, at most `k`: exclusion and filters win over a pin, and so does having seen it."""
    if not request.pins:
        return ()
    closed = set(hidden.tolist())
    pins = []
    for pin in sorted(request.pins, key=lambda pin: pin.position):
        item = catalogue.index.index(pin.item_id)
        if item is None or item in closed or pin.position > request.k:
            continue
        if bias is None or not np.isneginf(bias[0, item]):
            pins.append((pin.position - 1, item))
            closed.add(item)
    return tuple(pins[: request.k])  # several may name one place
