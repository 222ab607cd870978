"""Map of items: near vectors get near places, the same ones each time, and trends count train events."""

from pathlib import Path

import numpy as np
import pytest

from retort.offline.export import item_map
from retort.offline.export.item_map import item_places, quantized


def clusters(n_items: int, n_clusters: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    own = np.arange(n_items) % n_clusters
    centres = random.normal(size=(n_clusters, 16))
    return (centres[own] + 0.2 * random.normal(size=(n_items, 16))).astype(np.float32), own


def share_of_near_in_own_cluster(places: np.ndarray, own: np.ndarray) -> float:
    distances = ((places[:, None] - places[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    return float((own[distances.argsort(axis=1)[:, :5]] == own[:, None]).mean())


def test_items_of_one_cluster_are_near_each_other() -> None:
    vectors, own = clusters(200)
    places = item_places(vectors)
    assert places.shape == (200, 2)
    assert share_of_near_in_own_cluster(places, own) > 0.95
    assert np.array_equal(places, item_places(vectors)), "the same bundle has the same map"


def test_items_beyond_the_laid_out_ones_are_placed_among_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_map, "MAX_LAID_OUT", 100)
    monkeypatch.setattr(item_map, "MAX_ANCHORS", 80)
    vectors, own = clusters(300)
    assert share_of_near_in_own_cluster(item_places(vectors), own) > 0.9


@pytest.mark.parametrize("vectors", [np.zeros((30, 8)), np.ones((3, 8)), np.ones((1, 8)), np.random.rand(20, 1)])
def test_degenerate_vectors_have_finite_places(vectors: np.ndarray) -> None:
    places = item_places(vectors.astype(np.float32))
    assert places.shape == (len(vectors), 2)
    assert np.isfinite(places).all()
    assert quantized(places).dtype == np.uint16


def test_places_keep_their_proportions_when_they_are_quantized() -> None:
    numbers = quantized(np.array([[0, 0], [2, 0], [0, 1]], dtype=np.float32)).astype(int)
    assert numbers[1, 0] - numbers[0, 0] == 65535
    assert abs(numbers[2, 1] - numbers[0, 1] - 32768) <= 1


def test_vectors_that_are_not_finite_have_no_map(tmp_path: Path) -> None:
    np.save(tmp_path / "item_vectors.npy", np.full((4, 2), np.nan, dtype=np.float32))
    item_map.write_places(tmp_path, 3)
    assert not (tmp_path / "item_map.npy").exists()
