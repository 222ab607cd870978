"""Map of items: near vectors get near places, the same ones each time, and trends count train events."""

from pathlib import Path

import numpy as np
import pytest

from retort.offline.data.split import SplitConfig, make_split, train_popularity
from retort.offline.export import item_map
from retort.offline.export.item_map import item_places, quantized
from retort.shared.model.bundle import open_bundle
from retort.shared.model.bundle_files import ITEM_MAP, TRENDS, parse_map, parse_trends
from tests.offline.data.test_split import interactions
from tests.serving._graphs import make_bundle


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


def test_trends_count_the_train_events_of_each_item(tmp_path: Path) -> None:
    rows = [(f"u{user}", f"i{(user + at) % 7}", 1_000_000 * at) for user in range(12) for at in range(6)]
    data = interactions(rows)
    split = make_split(data, SplitConfig(), "held")
    item_map.write_trends(tmp_path, split, data)
    trends = parse_trends(tmp_path, (tmp_path / TRENDS).read_bytes(), len(split.item_index))
    assert trends.counts.sum(axis=1).tolist() == train_popularity(split)[1:].tolist()
    assert trends.counts.dtype == np.uint16
    assert (trends.first, trends.last) == (0, 3_000_000), "the last two events of a user are no train events"
    starts = np.flatnonzero(trends.counts.sum(axis=0))
    assert starts.tolist() == [0, 8, 16, 23], "four moments in 24 spans"


def test_added_items_have_a_place_and_no_events(tmp_path: Path) -> None:
    vectors, _ = clusters(63)
    counts = np.ones((60, 4), dtype=np.uint16)
    bundle = open_bundle(make_bundle(tmp_path / "bundles", trends=(counts, 0, 9)))
    np.save(tmp_path / "item_vectors.npy", np.concatenate([np.zeros((1, 16), np.float32), vectors]))
    item_map.write_grown(tmp_path, bundle, 63)
    assert parse_map(tmp_path, (tmp_path / ITEM_MAP).read_bytes(), 63).shape == (63, 2)
    trends = parse_trends(tmp_path, (tmp_path / TRENDS).read_bytes(), 63)
    assert (trends.counts[:60] == 1).all()
    assert (trends.counts[60:] == 0).all()
