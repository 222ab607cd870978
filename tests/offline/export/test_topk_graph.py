"""Both forms of the graph's last part give what a sort over all scores gives, ties included."""

from types import ModuleType

import numpy as np
import pytest
import torch

from retort.offline.export.onnx import export_student, item_vectors
from retort.offline.export.topk_graph import CHUNK, stored_table
from retort.offline.students import sasrec, simplex
from retort.shared.base.errors import BundleError
from retort.shared.model.scoring import Scorer
from retort.shared.model.sequences import IntArray
from tests.offline._gather_student import graph_of
from tests.offline._rankings import assert_same_ranking

DIM = 4
SMALL, LARGE = 1 << 30, 0  # limits that make any table one or the other


def table_of(n_items: int, *, seed: int = 0, levels: int | None = None) -> np.ndarray:
    """(n_items + 1, DIM); with `levels` few different values, so that many scores are equal and exact."""
    random = np.random.default_rng(seed)
    shape = (n_items + 1, DIM)
    drawn = random.normal(size=shape) if levels is None else random.integers(-levels, levels + 1, size=shape)
    table: np.ndarray = drawn.astype(np.float32)
    table[0] = 0
    return table


def scorer_of(table: np.ndarray, limit_bytes: int) -> Scorer:
    return Scorer(
        graph_of(table, limit_bytes), n_items=len(table) - 1, max_length=1, table=stored_table(table, limit_bytes)
    )


def sorted_scores(
    table: np.ndarray, items: list[int], hidden: list[IntArray], bias: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """(items, scores), (B, N) each: everything, best first, equal scores by index."""
    scores_BN = table[items] @ table.T + (0 if bias is None else bias)
    scores_BN[:, 0] = -np.inf
    for row, one in zip(scores_BN, hidden, strict=True):
        row[one] = -np.inf
    order_BN = np.argsort(-scores_BN, axis=1, kind="stable")
    return order_BN, np.take_along_axis(scores_BN, order_BN, 1)


@pytest.mark.parametrize("limit_bytes", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("n_items", [1, CHUNK - 1, CHUNK, 3 * CHUNK + 7])
@pytest.mark.parametrize("bias", ["none", "row", "rows", "column"])
@pytest.mark.parametrize("k", [1, 10, 500])
def test_equals_a_stable_sort(limit_bytes: int, batch: int, n_items: int, bias: str, k: int) -> None:
    random = np.random.default_rng(n_items)
    table = table_of(n_items, levels=2)
    items = random.integers(1, n_items + 1, size=batch).tolist()
    hidden = [random.integers(1, n_items + 1, size=random.integers(0, 9)) for _ in range(batch)]
    shape = {"row": (1, n_items + 1), "rows": (batch, n_items + 1), "column": (batch, 1)}.get(bias)
    added = None if shape is None else random.choice([0, 1, -np.inf], size=shape, p=[0.6, 0.3, 0.1]).astype(np.float32)
    if bias == "column" and added is not None:
        added[np.isneginf(added)] = 3
    ranked = scorer_of(table, limit_bytes).top_k([np.array([item]) for item in items], k, hidden=hidden, bias=added)
    order, scores = sorted_scores(table, items, hidden, added)
    for row in range(batch):
        left = ~np.isneginf(scores[row])
        got_items, got_scores = ranked.row(row)
        np.testing.assert_array_equal(got_items, order[row][left][:k])
        np.testing.assert_array_equal(got_scores, scores[row][left][:k])


def test_a_large_table_is_in_neither_the_graph_nor_twice_anywhere() -> None:
    table = table_of(5_000)
    large, small = graph_of(table, LARGE), graph_of(table, SMALL)
    assert len(large) < 10_000
    assert table.nbytes < len(small) < table.nbytes + 10_000
    assert stored_table(table, LARGE).shape == (5_120 - 5_120 % CHUNK, DIM)
    assert stored_table(table, SMALL).shape == table.shape


def test_padding_rows_are_never_recommended() -> None:
    table = np.zeros((6, DIM), np.float32)
    table[1] = 1
    table[2:] = -np.arange(1, 5, dtype=np.float32)[:, None]
    for batch in (1, 3):
        ranked = scorer_of(table, LARGE).top_k([np.array([1])] * batch, 5, hidden=[np.array([1])] * batch)
        assert ranked.row(0)[0].tolist() == [2, 3, 4, 5]


def test_a_graph_without_its_table_is_refused_with_the_remedy() -> None:
    table = table_of(300)
    graph = graph_of(table, LARGE)
    with pytest.raises(BundleError, match="publish the bundle again"):
        Scorer(graph, n_items=300, max_length=1)
    with pytest.raises(BundleError, match=r"\[301, 4\].*\[384, 4\].*export them again"):
        Scorer(graph, n_items=300, max_length=1, table=table)


@pytest.mark.parametrize("module", [sasrec, simplex], ids=["sasrec", "simplex"])
def test_small_and_large_tables_give_equal_recommendations(module: ModuleType) -> None:
    """SimpleX scores against another table than it reads."""
    torch.manual_seed(0)
    student = module.Model(module.Config(max_length=6, embedding_dim=8), 300)
    small, large = (
        Scorer(export_student(student, limit), n_items=300, max_length=6, table=item_vectors(student, limit))
        for limit in (SMALL, LARGE)
    )
    random = np.random.default_rng(0)
    histories = [random.integers(1, 301, size=length) for length in (0, 1, 6, 9)]
    for some in ([histories[2]], histories):
        one, other = small.top_k(some, 20), large.top_k(some, 20)
        for row in range(len(some)):
            assert_same_ranking(one.row(row), other.row(row))
