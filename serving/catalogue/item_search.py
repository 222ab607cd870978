"""Search over titles and ids of a bundle's items.

A sorted index of words answers a query without a pass over the texts of the catalogue.
"""

import threading
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

MAX_QUERY_CHARS = 200
# The first of these columns that the items have is their title.
TITLE_COLUMNS = ("title", "name")
_MAX_WORDS = 8
# Entries of the index that one word of a query may read; a start such as "a" has more at millions of items.
_MAX_ENTRIES = 1_000_000
# After every text that starts with a word.
_LAST = "\U0010ffff"


class ItemSearch:
    """Index of the words of titles, and of whole ids.

    A query finds the items that have, for each of its words, a word that starts with it; the most popular come first.

    Args:
        ids: Ids in the order of the item index.
        titles: Titles in the same order, or None.
        by_popularity: Item indexes, most popular first.
    """

    def __init__(self, ids: "pa.Array", titles: "pa.Array | None", by_popularity: NDArray[np.int64]) -> None:
        self._by_popularity = by_popularity
        rows = pa.array(by_popularity - 1)
        places = pa.array(np.arange(len(by_popularity), dtype=np.int32))
        words, owners = [_normalize(ids.take(rows))], [places]
        if titles is not None:
            lists = pc.utf8_split_whitespace(_plain_words(titles.take(rows)))
            words.append(lists.flatten())
            owners.append(pc.list_parent_indices(lists).cast(pa.int32()))
        encoded = pa.concat_arrays([part.cast(pa.large_string()) for part in words]).dictionary_encode()
        order = pc.sort_indices(encoded.dictionary).to_numpy()
        rank = np.empty(len(order), dtype=np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        codes = rank[encoded.indices.to_numpy()]
        self._words = _Words(encoded.dictionary.take(pa.array(order)))
        # places[starts[w]:starts[w + 1]] are the items that have word w, as places in the order of popularity
        self._places = pa.concat_arrays(owners).to_numpy()[np.argsort(codes, kind="stable")]
        self._starts = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=len(order)))])

    def find(self, query: str, limit: int) -> NDArray[np.int64]:
        """Return item indexes, most popular first; the most popular items of all for an empty query."""
        query = query[:MAX_QUERY_CHARS]
        whole, words = _normalize(pa.array([query]))[0].as_py().strip(), _plain_words(pa.array([query]))[0].as_py()
        if not words and not whole:
            return self._by_popularity[:limit]
        # an id keeps its punctuation, which separates the words of a title
        found = self._with_all([whole], limit)
        return found if len(found) or not words else self._with_all(words.split()[:_MAX_WORDS], limit)

    def _with_all(self, words: list[str], limit: int) -> NDArray[np.int64]:
        found = np.ones(len(self._by_popularity), dtype=bool)
        for word in words:
            mask = np.zeros_like(found)
            mask[self._entries(word)] = True
            found &= mask
        return self._by_popularity[np.flatnonzero(found)[:limit]]

    def _entries(self, word: str) -> NDArray[np.int32]:
        first, last = bisect_left(self._words, word), bisect_left(self._words, word + _LAST)
        entries: NDArray[np.int32] = self._places[self._starts[first] : self._starts[last]][:_MAX_ENTRIES]
        return entries


class _Words(Sequence[str]):
    """Sorted words, kept as one Arrow array: a list of millions of strings would take ten times the memory."""

    def __init__(self, words: "pa.Array") -> None:
        self._words = words

    def __len__(self) -> int:
        return len(self._words)

    def __getitem__(self, place: int) -> str:  # type: ignore[override]
        word: str = self._words[place].as_py()
        return word


def _normalize(texts: "pa.Array") -> "pa.Array":
    """Lower case without accents."""
    decomposed = pc.utf8_lower(pc.utf8_normalize(pc.fill_null(texts, ""), form="NFKD"))
    return pc.replace_substring_regex(decomposed, r"\pM", "")


def _plain_words(texts: "pa.Array") -> "pa.Array":
    """Letters and digits, separated by single spaces."""
    return pc.utf8_trim_whitespace(pc.replace_substring_regex(_normalize(texts), r"[^\pL\pN]+", " "))


class LazySearch:
    """The index of one catalogue, built at the first query by one thread."""

    def __init__(self, columns: "dict[str, pa.ChunkedArray]", by_popularity: NDArray[np.int64], id_column: str) -> None:
        self._columns = columns
        self._by_popularity = by_popularity
        self._id_column = id_column
        self._lock = threading.Lock()
        self._search: ItemSearch | None = None

    def find(self, query: str, limit: int) -> NDArray[np.int64]:
        """Return item indexes; blocking, seconds at the first query over a million items."""
        with self._lock:
            if self._search is None:
                titles = next((texts for name in TITLE_COLUMNS if (texts := self._texts(name)) is not None), None)
                ids = self._texts(self._id_column)
                assert ids is not None
                self._search = ItemSearch(ids, titles, self._by_popularity)
        return self._search.find(query, limit)

    def _texts(self, name: str) -> "pa.Array | None":
        column = self._columns.get(name)
        if column is None:
            return None
        values = column.combine_chunks()
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        is_text = pa.types.is_string(values.type) or pa.types.is_large_string(values.type)
        return values.cast(pa.large_string()) if is_text or pa.types.is_string_view(values.type) else None
