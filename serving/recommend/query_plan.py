"""Query plan: hidden items, score bias and re-ranking of one request over one bundle.

Filters, candidates and boosts become one additive bias inside the ranking. The final list is never cut afterwards, so
it has `k` items whenever `k` are available.
"""

from dataclasses import dataclass, field

import numpy as np

from retort.serving.catalogue.catalogue import Catalogue
from retort.serving.catalogue.filters import Mask
from retort.serving.recommend.ranking import FloatArray
from retort.serving.recommend.reranking import Cap, RerankingOptions
from retort.serving.schemas.problems import Problem
from retort.serving.schemas.requests import RecommendRequest
from retort.serving.schemas.tokens import Hashes, read_next_token
from retort.shared.model.sequences import IntArray

_NONE_SHOWN: Hashes = np.zeros(0, dtype=np.uint32)
_NO_RERANKING = RerankingOptions()


@dataclass(frozen=True, slots=True)
class QueryPlan:
    """A request, resolved against a catalogue.

    Attributes:
        hidden: Item indices to leave out.
        bias: (1, n_items + 1) addition to the scores; −inf excludes an item.
        shown: Hashes of the items on previous pages.
    """

    k: int
    hidden: IntArray
    bias: FloatArray | None = None
    reranking: RerankingOptions = _NO_RERANKING
    shown: Hashes = field(default_factory=lambda: _NONE_SHOWN)


def build_query_plan(
    request: RecommendRequest,
    catalogue: Catalogue,
    seen: IntArray,
    *,
    apply_filter: bool = True,
    apply_segment: bool = False,
) -> QueryPlan:
    """Build the plan of a request.

    Args:
        seen: Item indices that the caller has seen and that are hidden; empty where items are recommended again.
        apply_filter: False ignores the request's filter, for when no item passes it and it is not strict.
        apply_segment: True admits only items of the request's segment, for when the history is unknown.

    Raises:
        Problem: 422 when a filter, segment, cap or field names an attribute that the items do not have.
    """
    index = catalogue.index
    parts = [seen]
    if request.exclude:
        parts.append(index.indexes(request.exclude))
    if request.is_plain:
        return QueryPlan(request.k, parts[0] if len(parts) == 1 else np.concatenate(parts))
    unknown = [name for name in request.fields if name not in catalogue.field_names]
    if unknown:
        known = ", ".join(catalogue.field_names) or "none"
        raise Problem(422, f"fields: items have no attribute {unknown[0]!r}; they have: {known}")
    shown = read_next_token(request.next)
    if len(shown):
        parts.append(catalogue.hash_table.items_of(shown))
    hidden = np.concatenate(parts)
    bias = _bias(request, catalogue, _allowed_items(request, catalogue, apply_filter, apply_segment))
    return QueryPlan(request.k, hidden, bias, _reranking(request, catalogue, hidden, bias), shown)


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


def _allowed_items(
    request: RecommendRequest, catalogue: Catalogue, apply_filter: bool, apply_segment: bool
) -> Mask | None:
    """Return the mask of the admissible items; None admits all."""
    allowed: list[Mask] = []
    # Both are compiled even when they are not applied, so that errors in them are always reported.
    for where, conditions, applies in (
        ("filter", request.filter, apply_filter),
        ("segment", request.segment, apply_segment),
    ):
        if conditions is not None:
            mask = catalogue.filters.mask(conditions, where)
            allowed += [mask] if applies else []
    if request.candidates is not None:
        candidates = np.zeros(catalogue.n_items + 1, dtype=bool)
        candidates[catalogue.index.indexes(request.candidates)] = True
        allowed.append(candidates)
    return np.logical_and.reduce(allowed) if allowed else None


def _reranking(
    request: RecommendRequest, catalogue: Catalogue, hidden: IntArray, bias: FloatArray | None
) -> RerankingOptions:
    if request.diversity and catalogue.unit_vectors is None:
        raise Problem(422, "diversity: this bundle has no item vectors; set diversity to 0.")
    return RerankingOptions(
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
    """Return at most `k` pins that may be shown: seen, excluded and filtered items are not pinned."""
    if not request.pins:
        return ()
    blocked = set(hidden.tolist())
    pins = []
    for pin in sorted(request.pins, key=lambda pin: pin.position):
        item = catalogue.index.index(pin.item_id)
        if item is None or item in blocked or pin.position > request.k:
            continue
        if bias is None or not np.isneginf(bias[0, item]):
            pins.append((pin.position - 1, item))
            blocked.add(item)
    return tuple(pins[: request.k])  # several pins may name one position
