"""Indexes of histories that are kept: never those of another history or bundle, and nobody can change them."""

from pathlib import Path

import numpy as np
import pytest

from retort.serving.catalogue.catalogue import Catalogue
from retort.shared.history.stored_history import StoredHistory
from retort.shared.model.bundle import open_bundle
from tests.serving._graphs import make_bundle


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    return Catalogue(open_bundle(make_bundle(tmp_path_factory.mktemp("bundles"))))


def test_one_history_is_looked_up_once_and_another_one_anew(catalogue: Catalogue) -> None:
    history = StoredHistory(["i3", "unknown", "i1"])
    first = catalogue.history_indexes(history)
    assert first.tolist() == [3, 1]
    assert catalogue.history_indexes(history) is first
    assert catalogue.history_indexes(StoredHistory([*history, "i2"])).tolist() == [3, 1, 2]
    assert catalogue.history_indexes(StoredHistory(reversed(history))).tolist() == [1, 3]


def test_nobody_can_change_what_is_shared(catalogue: Catalogue) -> None:
    history = StoredHistory(["i5", "i6"])
    with pytest.raises(ValueError, match="read-only"):
        catalogue.history_indexes(history)[0] = 1
    own = catalogue.history_indexes(["i5", "i6"])  # a request's own list is not kept
    own[0] = 1
    assert catalogue.history_indexes(history).tolist() == [5, 6]


def test_another_bundle_has_its_own_indexes(catalogue: Catalogue, tmp_path: Path) -> None:
    smaller = Catalogue(open_bundle(make_bundle(tmp_path, n_items=4)))
    history = StoredHistory(["i2", "i50"])
    assert catalogue.history_indexes(history).tolist() == [2, 50]
    assert smaller.history_indexes(history).tolist() == [2]


def test_a_very_long_history_is_not_kept(catalogue: Catalogue) -> None:
    long = StoredHistory(f"i{n % 60 + 1}" for n in range(1_000))
    one, other = catalogue.history_indexes(long), catalogue.history_indexes(long)
    assert one is not other
    np.testing.assert_array_equal(one, other)
