"""Re-ranking: caps, diversity and pins turn a ranking into the final list of `k` items, if `k` are available."""

from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from retort.serving.catalogue.attributes import Attribute, TextAttribute
from retort.serving.catalogue.catalogue import UnitVectors
from retort.serving.recommend.ranking import FloatArray, Ranking
from retort.shared.model.sequences import IntArray

# Maps a depth to a ranking; a ranking shorter than the depth holds all available items.
RankFunction = Callable[[int], Awaitable[Ranking]]

_MIN_DEPTH = 100
_DEPTH_FACTOR = 4


@dataclass(frozen=True, slots=True)
class Cap:
    """Maximum number of items for each value of an attribute; items without a value are not limited."""

    attribute: Attribute
    limit: int

    def values(self, item_index: int) -> Sequence[Hashable]:
        """Return the item's values; text attributes may have several."""
        if isinstance(self.attribute, TextAttribute):
            start, end = self.attribute.starts[item_index : item_index + 2]
            return [int(code) for code in self.attribute.codes[start:end]]
        value = float(self.attribute.values[item_index])
        return [] if np.isnan(value) else [value]


@dataclass(frozen=True, slots=True)
class RerankingOptions:
    """Options of the re-ranking of one list.

    Attributes:
        diversity: 0 keeps the order of the scores, 1 maximises diversity.
        units: Item vectors; required for diversity.
        pins: (position from 0, item index), ordered by position.
    """

    caps: tuple[Cap, ...] = ()
    diversity: float = 0.0
    units: UnitVectors | None = None
    pins: tuple[tuple[int, int], ...] = ()

    @property
    def is_empty(self) -> bool:
        return not self.caps and not self.pins and self.diversity == 0


@dataclass(frozen=True, slots=True)
class RankedList:
    """The final list; pinned items have no score."""

    items: list[int]
    scores: list[float | None]
    pinned: frozenset[int] = frozenset()


async def rerank(rank: RankFunction, k: int, options: RerankingOptions, n_items: int) -> RankedList:
    """Rank and re-rank; the ranking is repeated with a greater depth while the options leave too few items.

    Args:
        n_items: Items of the catalogue, the greatest depth.
    """
    if options.is_empty:
        items, scores = await rank(k)
        return RankedList(items.tolist(), scores.tolist())
    pins = options.pins
    pinned = {item for _, item in pins}
    depth = min(n_items, max(_DEPTH_FACTOR * k, _MIN_DEPTH) + len(pins))
    while True:
        items, scores = await rank(depth)
        free = ~np.isin(items, list(pinned))
        positions = _select((items[free], scores[free]), k - len(pins), options)
        if len(positions) + len(pins) >= k or len(items) < depth or depth >= n_items:
            break
        depth = min(n_items, depth * _DEPTH_FACTOR)
    return _insert_pins(items[free][positions].tolist(), scores[free][positions].tolist(), pins)


def _select(ranking: Ranking, k: int, options: RerankingOptions) -> list[int]:
    """Return positions in the ranking, in the order of the final list."""
    counts: list[Counter[Hashable]] = [Counter() for _ in options.caps]
    for _, item in options.pins:
        _count_item(counts, options.caps, item)
    items, scores = ranking
    if options.diversity == 0 or options.units is None:
        return _select_in_order(items, k, options.caps, counts)
    return _select_diverse(items, scores, k, options, counts)


def _select_in_order(items: IntArray, k: int, caps: Sequence[Cap], counts: list[Counter[Hashable]]) -> list[int]:
    positions: list[int] = []
    for position, item in enumerate(items.tolist()):
        if len(positions) >= k:
            break
        if _within_caps(counts, caps, item):
            _count_item(counts, caps, item)
            positions.append(position)
    return positions


def _select_diverse(
    items: IntArray, scores: FloatArray, k: int, options: RerankingOptions, counts: list[Counter[Hashable]]
) -> list[int]:
    """Select by maximal marginal relevance (Carbonell and Goldstein, 1998)."""
    if not len(items):
        return []
    assert options.units is not None
    vectors = options.units[items]
    spread = float(scores.max() - scores.min()) or 1.0
    relevance = (1 - options.diversity) * (scores - scores.min()) / spread
    similarity = np.zeros(len(items), dtype=np.float32)
    free = np.ones(len(items), dtype=bool)
    positions: list[int] = []
    while len(positions) < k and free.any():
        value = np.where(free, relevance - options.diversity * similarity, -np.inf)
        position = int(value.argmax())
        free[position] = False
        if not _within_caps(counts, options.caps, int(items[position])):
            continue
        _count_item(counts, options.caps, int(items[position]))
        positions.append(position)
        similarity = np.maximum(similarity, vectors @ vectors[position])
    return positions


def _within_caps(counts: list[Counter[Hashable]], caps: Sequence[Cap], item: int) -> bool:
    return all(count[value] < cap.limit for cap, count in zip(caps, counts, strict=True) for value in cap.values(item))


def _count_item(counts: list[Counter[Hashable]], caps: Sequence[Cap], item: int) -> None:
    for cap, count in zip(caps, counts, strict=True):
        count.update(cap.values(item))


def _insert_pins(items: list[int], scores: list[float], pins: Sequence[tuple[int, int]]) -> RankedList:
    """Insert each pin at its position; a position beyond the end means the end."""
    mixed: list[tuple[int, float | None]] = list(zip(items, scores, strict=True))
    for position, item in pins:
        mixed.insert(position, (item, None))
    return RankedList([item for item, _ in mixed], [score for _, score in mixed], frozenset(item for _, item in pins))
