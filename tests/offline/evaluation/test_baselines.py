"""Baselines follow the formulas of their papers."""

import numpy as np
import pytest

from retort.offline.common.progress import Silent
from retort.offline.data.ragged import Ragged
from retort.offline.data.split import Cases, Split
from retort.offline.evaluation import baselines
from retort.offline.evaluation.baselines import baseline_ranker, ease, interaction_matrix, item_knn
from retort.offline.evaluation.evaluate import EvaluationConfig, evaluate
from retort.shared.base.errors import DataError
from retort.shared.model.item_index import ItemIndex

N_ITEMS = 12


@pytest.fixture
def split() -> Split:
    """Split of users who choose items of one parity; the target is an item of the same parity."""
    rng = np.random.default_rng(0)
    rows = [rng.permutation(np.arange(1 + parity, N_ITEMS + 1, 2)) for parity in (0, 1) for _ in range(20)]
    users = np.arange(len(rows))
    histories = Ragged.of([row[:4] for row in rows])
    test = Cases(users, histories, np.array([row[4] for row in rows]))
    names = tuple(f"u{user}" for user in users)
    return Split("refit", names, ItemIndex([f"i{n}" for n in range(N_ITEMS)]), histories, None, test)


@pytest.mark.parametrize("name", ["ease", "item_knn"])
def test_item_to_item_baselines_beat_popularity(name: str, split: Split) -> None:
    config = EvaluationConfig(k=(2,))
    found = evaluate(baseline_ranker(name, split), split.test, config, Silent(), "test")
    popular = evaluate(baseline_ranker("popularity", split), split.test, config, Silent(), "test")
    # of six items of the right parity four are hidden; the baseline must find the other two
    assert (found.ranks_U > 0).all()
    assert (popular.ranks_U > 0).mean() < 0.8
    for row, history in zip(found.items_UK, split.test.histories, strict=True):
        assert not set(row) & set(history.tolist())


def test_ease_equals_the_closed_form(split: Split) -> None:
    chosen = interaction_matrix(split.train, N_ITEMS + 1)[:, 1:].toarray()
    inverse = np.linalg.inv(chosen.T @ chosen + 5.0 * np.eye(N_ITEMS))
    wanted = -inverse / np.diag(inverse)[None, :]
    np.fill_diagonal(wanted, 0)
    np.testing.assert_allclose(ease(split, 5.0)._weights_NN[1:, 1:], wanted, atol=1e-4)


def test_item_knn_keeps_only_the_nearest_neighbours(split: Split) -> None:
    weights = item_knn(split, neighbours=2)._weights_NN
    assert np.diff(weights.indptr).max() == 2
    assert weights.diagonal().max() == 0


def test_ease_refuses_a_catalogue_that_is_too_large(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "EASE_LIMIT_ITEMS", N_ITEMS - 1)
    with pytest.raises(DataError, match="remove it from the experiment's floors"):
        ease(split)


def test_an_unknown_baseline_is_refused(split: Split) -> None:
    with pytest.raises(DataError, match="there is no baseline 'random'"):
        baseline_ranker("random", split)
