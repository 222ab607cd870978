"""From a ranking to a list: caps, diversity and pins; always `k` items where `k` can be had."""

from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from retort.serving.catalogue.attributes import Attribute, TextAttribute
from retort.serving.catalogue.catalogue import UnitVectors
from retort.serving.recommend.ranking import FloatArray, Ranking
from retort.shared.model.sequences import IntArray

Rank = Callable[[int], Awaitable[Ranking]]  # depth → ranking; fewer than depth means that no more are left

_FIRST_DEPTH = 100
_DEEPER = 4


@dataclass(frozen=True, slots=True)
class Cap:
    """At most `limit` items of each value of an attribute; an item without the attribute is never held back."""

    attribute: Attribute
    limit: int

    def values(self, item_index: int) -> Sequence[Hashable]:
        """What the item counts for; all of its words where it has several."""
        if isinstance(self.attribute, TextAttribute):
            start, end = self.attribute.starts[item_index : item_index + 2]
            return [int(code) for code in self.attribute.codes[start:end]]
        value = float(self.attribute.values[item_index])
        return [] if np.isnan(value) else [value]


@dataclass(frozen=True, slots=True)
class Rules:
    """What shapes the list after ranking. `diversity` 0 is the ranking itself, 1 looks at difference alone."""

    caps: tuple[Cap, ...] = ()
    diversity: float = 0.0
    units: UnitVectors | None = None  # needed for diversity
    pins: tuple[tuple[int, int], ...] = ()  # (place from 0, item index), by place

    @property
    def are_none(self) -> bool:
        return not self.caps and not self.pins and self.diversity == 0


@dataclass(frozen=True, slots=True)
class Chosen:
    """The finished list; a pinned item has no score of its own."""

    items: list[int]
    scores: list[float | None]
    pinned: frozenset[int] = frozenset()


async def choose(rank: Rank, k: int, rules: Rules, n_items: int) -> Chosen:
    """Ask the ranking for as much as the rules need: deeper as long as they leave too few."""
    if rules.are_none:
        items, scores = await rank(k)
        return Chosen(items.tolist(), scores.tolist())
    pins = rules.pins
    pinned = {item for _, item in pins}
    depth = min(n_items, max(_DEEPER * k, _FIRST_DEPTH) + len(pins))
    while True:
        items, scores = await rank(depth)
        free = ~np.isin(items, list(pinned))
        places = _select((items[free], scores[free]), k - len(pins), rules)
        if len(places) + len(pins) >= k or len(items) < depth or depth >= n_items:
            break
        depth = min(n_items, depth * _DEEPER)
    return _with_pins(items[free][places].tolist(), scores[free][places].tolist(), pins)


def _select(pool: Ranking, k: int, rules: Rules) -> list[int]:
    """Places in the pool, in the order of the list."""
    counts: list[Counter[Hashable]] = [Counter() for _ in rules.caps]
    for _, item in rules.pins:
        _count(counts, rules.caps, item)
    items, scores = pool
    if rules.diversity == 0 or rules.units is None:
        return _in_order(items, k, rules.caps, counts)
    return _by_relevance_and_difference(items, scores, k, rules, counts)


def _in_order(items: IntArray, k: int, caps: Sequence[Cap], counts: list[Counter[Hashable]]) -> list[int]:
    places: list[int] = []
    for place, item in enumerate(items.tolist()):
        if len(places) >= k:
            break
        if _fits(counts, caps, item):
            _count(counts, caps, item)
            places.append(place)
    return places


def _by_relevance_and_difference(
    items: IntArray, scores: FloatArray, k: int, rules: Rules, counts: list[Counter[Hashable]]
) -> list[int]:
    """Maximal marginal relevance, Carbonell and Goldstein 1998: the next item is relevant and unlike those before."""
    if not len(items):
        return []
    assert rules.units is not None
    vectors = rules.units[items]
    spread = float(scores.max() - scores.min()) or 1.0
    relevance = (1 - rules.diversity) * (scores - scores.min()) / spread
    likeness = np.zeros(len(items), dtype=np.float32)
    free = np.ones(len(items), dtype=bool)
    places: list[int] = []
    while len(places) < k and free.any():
        value = np.where(free, relevance - rules.diversity * likeness, -np.inf)
        place = int(value.argmax())
        free[place] = False
        if not _fits(counts, rules.caps, int(items[place])):
            continue
        _count(counts, rules.caps, int(items[place]))
        places.append(place)
        likeness = np.maximum(likeness, vectors @ vectors[place])
    return places


def _fits(counts: list[Counter[Hashable]], caps: Sequence[Cap], item: int) -> bool:
    return all(count[value] < cap.limit for cap, count in zip(caps, counts, strict=True) for value in cap.values(item))


def _count(counts: list[Counter[Hashable]], caps: Sequence[Cap], item: int) -> None:
    for cap, count in zip(caps, counts, strict=True):
        count.update(cap.values(item))


def _with_pins(items: list[int], scores: list[float], pins: Sequence[tuple[int, int]]) -> Chosen:
    """Put each pin at its place; a place beyond the end is the end."""
    mixed: list[tuple[int, float | None]] = list(zip(items, scores, strict=True))
    for place, item in pins:
        mixed.insert(place, (item, None))
    return Chosen([item for item, _ in mixed], [score for _, score in mixed], frozenset(item for _, item in pins))
