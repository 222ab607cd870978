"""Dimension reduction: requested width, repeatable, new users without a refit."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from retort.offline.common.progress import Silent
from retort.offline.embeddings.reducer import Reduced, fit_reducer, load_reducer
from retort.offline.embeddings.reducer_config import ReducerConfig
from retort.offline.embeddings.vectors import FloatArray
from retort.shared.base.errors import ProfileError


def clusters(n: int = 90, width: int = 24, seed: int = 0) -> FloatArray:
    """Three groups around three corners, of length 1."""
    rng = np.random.default_rng(seed)
    vectors = np.eye(width)[np.arange(n) % 3] * 3 + rng.normal(0, 0.4, (n, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


UMAP = ReducerConfig(method="umap", n_components=5, fit_sample=70, n_neighbors=8, n_epochs=30)


_THREADS = 3


@pytest.fixture(scope="module")
def fitted() -> tuple[Reduced, int]:
    """The one fit of a UMAP here, whose compilation takes seconds, and torch's number of threads after it."""
    before = torch.get_num_threads()
    torch.set_num_threads(_THREADS)
    try:
        return fit_reducer(clusters(), UMAP, Silent()), torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def mapped(fitted: tuple[Reduced, int]) -> Reduced:
    return fitted[0]


def test_umap_leaves_torch_its_number_of_threads(fitted: tuple[Reduced, int]) -> None:
    assert fitted[1] == _THREADS


def test_umap_has_the_requested_width(mapped: Reduced) -> None:
    assert (mapped.vectors.shape, mapped.vectors.dtype) == ((90, 5), np.float32)
    assert np.isfinite(mapped.vectors).all()


def test_umap_keeps_groups_together_and_reports_the_quality(mapped: Reduced) -> None:
    centres = np.stack([mapped.vectors[group::3].mean(axis=0) for group in range(3)])
    nearest = np.linalg.norm(mapped.vectors[:, None] - centres[None], axis=2).argmin(axis=1)
    assert (nearest == np.arange(90) % 3).mean() > 0.95
    assert mapped.quality is not None
    assert mapped.quality.trustworthiness > 0.7
    assert 0.2 < mapped.quality.neighbor_overlap <= 1


def test_umap_is_kept_and_maps_new_users_the_same_way(mapped: Reduced, tmp_path: Path) -> None:
    new = clusters(12, seed=1)
    mapped.reducer.save(tmp_path / "reducer")
    opened = load_reducer(tmp_path / "reducer")
    first = mapped.reducer.transform(new)
    assert first.shape == (12, 5)
    np.testing.assert_array_equal(opened.transform(new), first)
    np.testing.assert_array_equal(opened.transform(new), first)
    head = json.loads((tmp_path / "reducer" / "reducer.json").read_text())
    assert "umap-learn" in head["libraries"]
    head["libraries"]["umap-learn"] = "0.1"
    (tmp_path / "reducer" / "reducer.json").write_text(json.dumps(head))
    with pytest.raises(ProfileError, match=r"made with umap-learn 0\.1"):
        load_reducer(tmp_path / "reducer")


def test_umap_is_seeded(mapped: Reduced) -> None:
    np.testing.assert_array_equal(fit_reducer(clusters(), UMAP, Silent()).vectors, mapped.vectors)


@pytest.mark.parametrize("normalize", ["none", "standardize", "l2"])
@pytest.mark.parametrize("whiten", [False, True])
def test_pca_is_kept_and_normalised(tmp_path: Path, normalize: str, whiten: bool) -> None:
    config = ReducerConfig(method="pca", n_components=4, normalize=normalize, whiten=whiten)  # type: ignore[arg-type]
    reduced = fit_reducer(clusters(), config, Silent())
    reduced.reducer.save(tmp_path)
    np.testing.assert_allclose(load_reducer(tmp_path).transform(clusters()), reduced.vectors, atol=1e-6)
    assert not list(tmp_path.glob("*.joblib"))
    if normalize == "standardize":
        np.testing.assert_allclose(reduced.vectors.std(axis=0), 1, atol=1e-3)
    elif normalize == "l2":
        np.testing.assert_allclose(np.linalg.norm(reduced.vectors, axis=1), 1, atol=1e-5)
    elif whiten:
        np.testing.assert_allclose(np.cov(reduced.vectors.T), np.eye(4), atol=1e-2)


def test_none_changes_nothing(tmp_path: Path) -> None:
    vectors = clusters()
    reduced = fit_reducer(vectors, ReducerConfig(method="none"), Silent())
    np.testing.assert_array_equal(reduced.vectors, vectors)
    reduced.reducer.save(tmp_path)
    assert load_reducer(tmp_path).out_width == 24


def test_fitting_changes_no_input() -> None:
    vectors = clusters()
    fit_reducer(vectors, ReducerConfig(method="pca", n_components=2, normalize="l2"), Silent())
    np.testing.assert_array_equal(vectors, clusters())


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (ReducerConfig(method="pca", n_components=25), "exceeds the encoder's width 24"),
        (ReducerConfig(method="umap", n_components=20, fit_sample=20), "at most 18"),
        (ReducerConfig(method="pca", n_components=20, fit_sample=10), "at most 10"),
    ],
)
def test_too_many_components_are_reported(config: ReducerConfig, told: str) -> None:
    with pytest.raises(ProfileError, match=told):
        fit_reducer(clusters(), config, Silent())


def test_wrong_widths_and_folders_are_reported(tmp_path: Path) -> None:
    reducer = fit_reducer(clusters(), ReducerConfig(method="pca", n_components=2), Silent()).reducer
    with pytest.raises(ProfileError, match="width 24"):
        reducer.transform(np.zeros((3, 7), np.float32))
    assert reducer.transform(np.zeros((0, 24), np.float32)).shape == (0, 2)
    with pytest.raises(ProfileError, match="no readable reducer"):
        load_reducer(tmp_path)


def test_a_place_does_not_depend_on_the_company(mapped: Reduced) -> None:
    new = clusters(8, seed=1)
    together = mapped.reducer.transform(new)
    alone = np.concatenate([mapped.reducer.transform(vector[None]) for vector in new])
    shuffled = mapped.reducer.transform(np.concatenate([clusters(40, seed=2), new[::-1]]))[40:][::-1]
    np.testing.assert_allclose(alone, together, atol=1e-5)
    np.testing.assert_allclose(shuffled, together, atol=1e-5)


def test_a_vector_of_the_fit_keeps_its_place_and_equal_vectors_share_it(mapped: Reduced) -> None:
    np.testing.assert_allclose(mapped.reducer.transform(clusters()), mapped.vectors, atol=1e-5)
    twice = np.concatenate([clusters(), clusters()[:5]])
    vectors = fit_reducer(twice, UMAP, Silent()).vectors
    np.testing.assert_array_equal(vectors[:5], vectors[90:])


def test_new_vectors_land_in_their_group(mapped: Reduced) -> None:
    centres = np.stack([mapped.vectors[group::3].mean(axis=0) for group in range(3)])
    new = mapped.reducer.transform(clusters(60, seed=1))
    nearest = np.linalg.norm(new[:, None] - centres[None], axis=2).argmin(axis=1)
    assert (nearest == np.arange(60) % 3).mean() > 0.95


@pytest.mark.parametrize("method", ["umap", "pca", "none"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_vectors_that_are_not_finite_are_refused(method: str, value: float, mapped: Reduced) -> None:
    broken = clusters()
    broken[7, 3] = value
    with pytest.raises(ProfileError, match=r"1 of 90 vectors to reduce contain NaN or infinity, the first in row 7"):
        fit_reducer(broken, ReducerConfig(method=method, n_components=2), Silent())  # type: ignore[arg-type]
    with pytest.raises(ProfileError, match="NaN or infinity"):
        mapped.reducer.transform(broken)
