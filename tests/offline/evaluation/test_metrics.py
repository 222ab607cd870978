"""Our metrics against ranx, an independent library."""

import numpy as np
import pytest
import ranx

from retort.offline.evaluation import metrics

RANDOM = np.random.default_rng(0)
U, K, N = 60, 20, 40
LISTS_UK = np.stack([RANDOM.permutation(N)[:K] + 1 for _ in range(U)])
TARGETS_U = RANDOM.integers(1, N + 1, size=U)


@pytest.mark.filterwarnings("ignore:unsafe cast")  # numba's, in ranx
def test_agree_with_ranx() -> None:
    truth = ranx.Qrels({f"u{u}": {str(TARGETS_U[u]): 1} for u in range(U)})
    run = ranx.Run({f"u{u}": {str(item): float(K - place) for place, item in enumerate(LISTS_UK[u])} for u in range(U)})
    ks = (1, 10, 20)
    theirs = ranx.evaluate(truth, run, [f"{metric}@{k}" for metric in ("hit_rate", "ndcg", "mrr") for k in ks])
    ranks_U = metrics.ranks_in_lists(LISTS_UK, TARGETS_U)
    for k in ks:
        assert metrics.hit_rate(ranks_U, k).mean() == pytest.approx(theirs[f"hit_rate@{k}"])
        assert metrics.ndcg(ranks_U, k).mean() == pytest.approx(theirs[f"ndcg@{k}"])
        assert metrics.mrr(ranks_U, k).mean() == pytest.approx(theirs[f"mrr@{k}"])


def test_a_target_that_train_never_saw_is_a_miss_even_in_a_padded_list() -> None:
    ranks = metrics.ranks_in_lists(np.array([[3, 0, 0]]), np.array([0]))
    assert ranks.tolist() == [0]


def test_coverage_counts_items_not_padding() -> None:
    assert metrics.coverage(np.array([[1, 2, 0], [2, 3, 9]]), 2, n_items=10) == pytest.approx(0.3)
