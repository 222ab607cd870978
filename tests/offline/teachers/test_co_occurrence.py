"""Co-occurrence-aware directions of item vectors."""

from dataclasses import replace

import numpy as np
import pytest

from retort.offline.data.ragged import Ragged
from retort.offline.embeddings.vectors import Vectors
from retort.offline.teachers.co_occurrence import co_occurrence_vectors
from retort.offline.teachers.config import CoOccurrenceConfig
from retort.shared.base.errors import TeacherError
from tests.offline._worlds import ring

N = 60
SPLIT = ring(n_items=N, n_users=400)
ANGLES = 2 * np.pi * np.arange(N) / N
PLACES = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
# what says where an item stands is quiet, and the noise is loud
NOISE = np.random.default_rng(1).normal(size=(N, 6)) * 5
STORED = Vectors(list(SPLIT.item_index.ids), np.concatenate([NOISE, PLACES], axis=1).astype(np.float32))


def explained(vectors: np.ndarray) -> float:
    """Share of the places' variance that a linear map of the vectors explains."""
    design = np.concatenate([vectors, np.ones((len(vectors), 1))], axis=1)
    fitted = design @ np.linalg.lstsq(design, PLACES, rcond=None)[0]
    return float(1 - ((PLACES - fitted) ** 2).sum() / (PLACES**2).sum())


def test_the_first_directions_are_those_in_which_neighbours_agree() -> None:
    mapped = co_occurrence_vectors(SPLIT, STORED, CoOccurrenceConfig(width=2))
    assert mapped.ids == STORED.ids
    assert mapped.vectors.shape == (N, 2)
    assert explained(mapped.vectors) > 0.95
    centred = STORED.vectors - STORED.vectors.mean(0)
    components = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
    assert explained(components) < 0.3


def test_the_power_scales_directions_and_keeps_them_uncorrelated() -> None:
    equal, scaled = (co_occurrence_vectors(SPLIT, STORED, CoOccurrenceConfig(width=6, power=p)) for p in (0.0, 1.0))
    np.testing.assert_allclose(equal.vectors.std(0), equal.vectors.std(0)[0], rtol=0.05)
    assert scaled.vectors.std(0)[0] > 2 * scaled.vectors.std(0)[-1]
    for mapped in (equal, scaled):
        correlation = np.corrcoef(mapped.vectors.T)
        assert abs(correlation - np.eye(6)).max() < 1e-3
        assert (mapped.vectors**2).sum(1).mean() == pytest.approx(1, rel=1e-4)


def test_an_item_without_events_is_mapped_by_its_text() -> None:
    cold = Vectors(["new", *STORED.ids], np.concatenate([STORED.vectors[:1], STORED.vectors]))
    mapped = co_occurrence_vectors(SPLIT, cold, CoOccurrenceConfig(width=4))
    np.testing.assert_allclose(mapped.vectors[0], mapped.vectors[1], atol=1e-6)


def test_histories_of_one_item_show_nothing() -> None:
    single = replace(SPLIT, train=Ragged.of([np.array([1 + user % N]) for user in range(400)]))
    with pytest.raises(TeacherError, match="nothing co-occurs"):
        co_occurrence_vectors(single, STORED, CoOccurrenceConfig())
