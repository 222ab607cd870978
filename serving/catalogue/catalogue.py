"""A bundle's items as serving needs them: popularity order, vectors, attributes by item index."""

from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from retort.serving.catalogue.attributes import Attributes
from retort.serving.catalogue.filters import Filters
from retort.serving.schemas.paging import HashTable, hash_table
from retort.shared.base.schema import ITEM_ID, PAD, POPULARITY, TEXT
from retort.shared.model.bundle import Bundle
from retort.shared.model.popularity import by_popularity, popularity_scores
from retort.shared.model.sequences import IntArray

BoolArray = NDArray[np.bool_]


class UnitVectors:
    """(n_items + 1, D), rows of length one, over a table that is not copied (a quarter GB at a million)."""

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self._vectors = vectors
        self._lengths = np.maximum(np.sqrt(np.einsum("nd,nd->n", vectors, vectors)), np.float32(1e-12))

    def __getitem__(self, items: IntArray | int) -> NDArray[np.float32]:
        """The rows of these items, (..., D)."""
        rows: NDArray[np.float32] = self._vectors[items] / self._lengths[items][..., None]
        return rows

    def __matmul__(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n_items + 1,): the inner product of each row with (D,)."""
        products: NDArray[np.float32] = (self._vectors @ vector) / self._lengths
        return products


class Catalogue:
    """Read-only views over one bundle; arrays have n_items + 1 entries, PAD first."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self.n_items = bundle.manifest.n_items
        self.index = bundle.item_index
        self.attributes = Attributes(bundle.items)
        self.filters = Filters(self.attributes)
        self.columns = {name: bundle.items.column(name) for name in bundle.items.column_names}

    def prepare(self) -> None:
        """Build what the first request would otherwise wait for."""
        _ = self.by_popularity, self.log_popularity, self.ids, self.hash_table, self.unit_vectors

    @cached_property
    def ids(self) -> list[str]:
        """Item ids by index; PAD has the empty string."""
        return ["", *self.index.ids]

    @cached_property
    def by_popularity(self) -> IntArray:
        """All item indexes, the most popular first; equal counts in the order of their index."""
        return by_popularity(self._bundle.popularity)

    @cached_property
    def log_popularity(self) -> NDArray[np.float32]:
        """log(1 + events) by index, the popularity fallback's score; PAD has −inf."""
        scores = popularity_scores(self._bundle.popularity)
        scores[PAD] = -np.inf
        return scores

    @cached_property
    def unit_vectors(self) -> UnitVectors | None:
        """The student's item vectors, each of length one; None where the student has none."""
        vectors = self._bundle.item_vectors
        return None if vectors is None else UnitVectors(vectors)

    @cached_property
    def hash_table(self) -> HashTable:
        """Items by the hash that `next` tokens hold."""
        return hash_table(self.ids)

    @property
    def field_names(self) -> list[str]:
        """What an answer can be decorated with."""
        return [name for name in self.columns if name not in (ITEM_ID, POPULARITY, TEXT)]

    def fields(self, item_index: int, names: list[str]) -> dict[str, Any]:
        """The named attributes of one item, as JSON values."""
        row = item_index - 1
        return {name: _plain(self.columns[name][row]) for name in names if name in self.columns}


def _plain(value: "pa.Scalar") -> Any:
    return value.as_py()
