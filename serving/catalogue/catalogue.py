"""Catalogue of a bundle: popularity, item vectors and attributes by item index."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from retort.serving.catalogue.attributes import Attributes
from retort.serving.catalogue.facets import Facet, build_facets
from retort.serving.catalogue.filters import FilterCompiler
from retort.serving.catalogue.item_map import ItemMap
from retort.serving.catalogue.item_search import LazySearch
from retort.serving.schemas.tokens import HashTable, build_hash_table
from retort.shared.base.schema import ITEM_ID, KNOWLEDGE, KNOWLEDGE_AT, KNOWLEDGE_SOURCE, PAD, POPULARITY, TEXT
from retort.shared.history.stored_history import StoredHistory
from retort.shared.knowledge.item_knowledge import Correction
from retort.shared.model.bundle import Bundle
from retort.shared.model.bundle_files import Trends
from retort.shared.model.item_index import by_popularity, popularity_scores
from retort.shared.model.sequences import IntArray
from retort.shared.model.user_map import UserMap

BoolArray = NDArray[np.bool_]
# Source of a corrected text, as sealed bundles name it too.
CORRECTED = "correction"
# Histories whose indexes are kept: 10 MB at most.
_REMEMBERED_HISTORIES, _REMEMBERED_LENGTH = 4_096, 256


class UnitVectors:
    """Item vectors of unit length, (n_items + 1, D).

    The table is not copied, which saves a quarter of a GB at a million items; rows are normalised at access.
    """

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self._vectors = vectors
        self._lengths = np.maximum(np.sqrt(np.einsum("nd,nd->n", vectors, vectors)), np.float32(1e-12))

    def __getitem__(self, items: IntArray | int) -> NDArray[np.float32]:
        """Return the rows of these items, (..., D)."""
        rows: NDArray[np.float32] = self._vectors[items] / self._lengths[items][..., None]
        return rows

    def __matmul__(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the (n_items + 1,) inner products of the rows with a vector (D,)."""
        products: NDArray[np.float32] = (self._vectors @ vector) / self._lengths
        return products


class Catalogue:
    """Read-only views of one bundle's items; arrays have n_items + 1 entries, PAD first."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self.n_items = bundle.manifest.n_items
        self.index = bundle.item_index
        self.attributes = Attributes(bundle.items)
        self.filters = FilterCompiler(self.attributes)
        self.columns = {name: bundle.items.column(name) for name in bundle.items.column_names}
        # People's corrections of the knowledge since the bundle was made: item index → fields. Replaced as a whole.
        self.corrections: dict[int, dict[str, Any]] = {}
        self._indexes_once = lru_cache(_REMEMBERED_HISTORIES)(self._indexes)

    def history_indexes(self, item_ids: Sequence[str]) -> IntArray:
        """Return the indexes of a history's known items, in order. Readers of a stored one share them, read-only."""
        if isinstance(item_ids, StoredHistory) and len(item_ids) <= _REMEMBERED_LENGTH:
            return self._indexes_once(item_ids)
        return self.index.indexes(item_ids)

    def _indexes(self, item_ids: StoredHistory) -> IntArray:
        indexes = self.index.indexes(item_ids)
        indexes.flags.writeable = False
        return indexes

    def prepare(self) -> None:
        """Build the cached arrays, so that the first request does not wait for them."""
        _ = self.by_popularity, self.log_popularity, self.ids, self.hash_table, self.unit_vectors

    @cached_property
    def ids(self) -> list[str]:
        """Item ids by index; PAD has an empty string."""
        return ["", *self.index.ids]

    @cached_property
    def by_popularity(self) -> IntArray:
        """All item indices by falling popularity; ties are in the order of the index."""
        return by_popularity(self._bundle.popularity)

    @cached_property
    def log_popularity(self) -> NDArray[np.float32]:
        """log(1 + events) by index, the score of the popularity fallback; PAD has −inf."""
        scores = popularity_scores(self._bundle.popularity)
        scores[PAD] = -np.inf
        return scores

    @cached_property
    def unit_vectors(self) -> UnitVectors | None:
        """The student's item vectors of unit length; None when the student has none."""
        vectors = self._bundle.item_vectors
        return None if vectors is None else UnitVectors(vectors)

    @cached_property
    def hash_table(self) -> HashTable:
        """Items by the hash that `next` tokens carry."""
        return build_hash_table(self.ids)

    @cached_property
    def search(self) -> LazySearch:
        """Search over titles and ids; its index is built at the first query."""
        return LazySearch(self.columns, self.by_popularity, ITEM_ID)

    @cached_property
    def facets(self) -> tuple[Facet, ...]:
        """Values of the attributes; building them reads every attribute once."""
        return build_facets(self.attributes)

    @cached_property
    def map(self) -> ItemMap | None:
        """Places of the items for people; None in bundles without a map."""
        places = self._bundle.item_map
        return None if places is None else ItemMap(places, self.attributes)

    @property
    def user_map(self) -> UserMap | None:
        """Places of users by profile; None in bundles without them."""
        return self._bundle.user_map

    @property
    def sealed_at(self) -> datetime | None:
        """When the bundle was sealed; None where its manifest holds no time with a zone."""
        try:
            time = datetime.fromisoformat(self._bundle.manifest.created_at)
        except ValueError:
            return None
        return None if time.tzinfo is None else time

    @property
    def trends(self) -> Trends | None:
        """Train events of each item over time; None in bundles without them."""
        return self._bundle.trends

    @property
    def popularity(self) -> NDArray[np.int64]:
        """Train events of each item by index."""
        return self._bundle.popularity

    @cached_property
    def popularity_ranks(self) -> IntArray:
        """Rank of each item by popularity, 1 for the most popular; 0 at PAD."""
        ranks = np.zeros(self.n_items + 1, dtype=np.int64)
        ranks[self.by_popularity] = np.arange(1, self.n_items + 1)
        return ranks

    @property
    def field_names(self) -> list[str]:
        """Attributes that a response can carry for each item."""
        return [name for name in self.columns if name not in (ITEM_ID, POPULARITY, TEXT)]

    def fields(self, item_index: int, names: list[str]) -> dict[str, Any]:
        """Return the named attributes of one item as JSON values, with corrections of its knowledge."""
        fields = self.sealed_fields(item_index, names)
        if self.corrections and (corrected := self.corrections.get(item_index)):
            fields |= {name: corrected[name] for name in names if name in corrected and name in fields}
        return fields

    def sealed_fields(self, item_index: int, names: list[str]) -> dict[str, Any]:
        """Return the named attributes of one item as the bundle has them."""
        row = item_index - 1
        return {name: _plain(self.columns[name][row]) for name in names if name in self.columns}

    def correct(self, corrections: Mapping[str, Correction]) -> None:
        """Show these corrections, by item id, in place of the knowledge of the bundle; others are withdrawn."""
        indexes = {item_id: self.index.index(item_id) for item_id in corrections}
        self.corrections = {
            index: _correction_fields(corrections[item_id]) for item_id, index in indexes.items() if index is not None
        }


def _correction_fields(correction: Correction) -> dict[str, Any]:
    """As a bundle would hold them: a forbidden text has no source and no time either."""
    if correction.text is None:
        return {KNOWLEDGE: None, KNOWLEDGE_SOURCE: None, KNOWLEDGE_AT: None}
    return {KNOWLEDGE: correction.text, KNOWLEDGE_SOURCE: CORRECTED, KNOWLEDGE_AT: correction.set_at.isoformat()}


def _plain(value: "pa.Scalar") -> Any:
    return value.as_py()
