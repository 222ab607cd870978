"""Search over titles and ids: starts of words, without accents, most popular first, within a bound."""

import numpy as np
import pyarrow as pa
import pytest

from retort.serving.catalogue import item_search
from retort.serving.catalogue.item_search import ItemSearch

TITLES = ["Crème brûlée torch", "Argan oil for hair", "Hair-care oil, argan", None, "Шампунь для волос", "oil"]
IDS = ["a-1", "B00-7", "c", "d/4", "e", "oil-9"]
# c is the most popular, then a-1, B00-7, d/4, e, oil-9
BY_POPULARITY = np.array([3, 1, 2, 4, 5, 6])


@pytest.fixture(scope="module")
def search() -> ItemSearch:
    return ItemSearch(pa.array(IDS), pa.array(TITLES), BY_POPULARITY)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [3, 1, 2, 4, 5, 6]),
        ("oil", [3, 2, 6]),
        ("arg hai", [3, 2]),
        ("HAIR-CARE", [3]),
        ("creme bru", [1]),
        ("brûl", [1]),
        ("волос", [5]),
        ("b00-7", [2]),
        ("B00", [2]),
        ("d/4", [4]),
        ("nothing", []),
        ("oil nothing", []),
        (" \t", [3, 1, 2, 4, 5, 6]),
        ("(*", []),
    ],
)
def test_a_query_finds_starts_of_words_and_ids(search: ItemSearch, query: str, expected: list[int]) -> None:
    assert search.find(query, 10).tolist() == expected


def test_the_most_popular_come_first_and_the_limit_holds(search: ItemSearch) -> None:
    assert search.find("oil", 2).tolist() == [3, 2]


def test_items_without_titles_are_found_by_id() -> None:
    assert ItemSearch(pa.array(IDS), None, BY_POPULARITY).find("oil", 5).tolist() == [6]


def test_one_word_reads_a_bounded_number_of_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_search, "_MAX_ENTRIES", 100)
    n = 1000
    search = ItemSearch(
        pa.array([f"x{i}" for i in range(n)]), pa.array([f"word{i % 7}" for i in range(n)]), np.arange(1, n + 1)
    )
    assert len(search.find("word", n)) == 100
