"""Two-stage graphs answer what exact graphs answer: with filters, exclusions, boosts, ties and every k."""

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retort.offline.export.config import ExportConfig
from retort.offline.export.onnx import StudentGraph
from retort.offline.export.retrieval import AUTO_ITEMS, agreement, export_for_retrieval
from retort.offline.export.topk_graph import grow_table, stored_table
from retort.offline.export.two_stage import LARGEST_K, Codes, make_codes
from retort.offline.students import sasrec
from retort.shared.model.scoring import Scorer
from tests.offline._gather_student import graph_of
from tests.offline._rankings import assert_same_ranking

N_ITEMS, DIM = 3_000, 8


def table_of(n_items: int = N_ITEMS, seed: int = 0) -> np.ndarray:
    """(n_items + 1, DIM) with weaker and weaker directions."""
    table = np.random.default_rng(seed).normal(size=(n_items + 1, DIM)) * np.logspace(0, -1, DIM)
    table[0] = 0
    return table.astype(np.float32)


def codes_of(table: np.ndarray, n_bytes: int = DIM) -> Codes:
    return make_codes(stored_table(table, 0), len(table), table[:100], n_bytes)


def scorer_of(table: np.ndarray, codes: Codes | None) -> Scorer:
    graph = graph_of(table, 0, codes)
    return Scorer(graph, n_items=len(table) - 1, max_length=1, table=stored_table(table, 0))


TABLE = table_of()
CODES = codes_of(TABLE)
EXACT, TWO_STAGE = scorer_of(TABLE, None), scorer_of(TABLE, CODES)


def requests(count: int, seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(1, N_ITEMS + 1, size=(count, 1)))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    k=st.sampled_from([1, 10, 500, LARGEST_K, LARGEST_K + 1, N_ITEMS + 9]),
    n_hidden=st.sampled_from([0, 1, 300, N_ITEMS - 5]),
    bias=st.sampled_from(["none", "boosts", "half", "twenty", "nothing"]),
    batch=st.sampled_from([1, 1, 1, 3]),
)
def test_equals_exact_retrieval(seed: int, k: int, n_hidden: int, bias: str, batch: int) -> None:
    random = np.random.default_rng(seed)
    histories = requests(batch, seed)
    hidden = [random.permutation(np.arange(1, N_ITEMS + 1))[:n_hidden] for _ in range(batch)]
    added = np.zeros((1, N_ITEMS + 1), np.float32)
    if bias == "boosts":
        added[0] = random.normal(size=N_ITEMS + 1)
    elif bias != "none":
        kept = {"half": N_ITEMS // 2, "twenty": 20, "nothing": 0}[bias]
        added[0, random.permutation(N_ITEMS + 1)[kept:]] = -np.inf
    given_bias = None if bias == "none" else added
    exact, two_stage = (scorer.top_k(histories, k, hidden=hidden, bias=given_bias) for scorer in (EXACT, TWO_STAGE))
    for row in range(batch):
        assert_same_ranking(two_stage.row(row), exact.row(row))


def test_a_filter_that_leaves_the_worst_items_returns_them_all() -> None:
    """Candidates are chosen after the filter, so the items that it leaves cannot be missed."""
    history = requests(1)[0]
    every, _ = EXACT.top_k([history], N_ITEMS).row(0)
    bias = np.full((1, N_ITEMS + 1), -np.inf, np.float32)
    bias[0, every[-20:]] = 0
    items, _ = TWO_STAGE.top_k([history], 50, bias=bias).row(0)
    assert sorted(items) == sorted(every[-20:])


def test_equal_scores_keep_the_order_of_their_indexes() -> None:
    table = np.tile(TABLE[1], (N_ITEMS + 1, 1))
    table[0] = 0
    hidden = [np.array([2, 5])]
    items, _ = scorer_of(table, codes_of(table)).top_k([np.array([2])], 6, hidden=hidden).row(0)
    assert items.tolist() == [1, 3, 4, 6, 7, 8]


def test_codes_sum_to_zero_so_that_the_state_has_no_zero_point() -> None:
    assert not CODES.codes_MP.sum(axis=0, dtype=np.int64).any()
    assert not CODES.codes_MP[:, 0].any()
    assert np.abs(CODES.codes_MP.astype(int)).max() <= 127


def test_codes_of_half_the_directions_keep_the_strong_ones() -> None:
    """The product of a state with the codes approximates the score, up to a constant for the state."""
    states = np.random.default_rng(0).normal(size=(100, DIM)).astype(np.float32)
    codes = make_codes(stored_table(TABLE, 0), N_ITEMS + 1, states, DIM // 2)
    approximate = states @ codes.turn_DM @ codes.codes_MP[:, 1 : N_ITEMS + 1] * codes.unit
    exact = states @ (TABLE[1 : N_ITEMS + 1] - codes.mean_D).T
    assert np.mean((approximate - exact) ** 2) < 0.3 * np.mean(exact**2)


@pytest.mark.parametrize("factor", [1, 4], ids=["usual", "beyond the range of the codes"])
def test_new_items_are_found_in_a_grown_graph(factor: float) -> None:
    table = np.concatenate([TABLE, factor * TABLE[[7, 8]]])
    exact, two_stage = (_grown(codes, table) for codes in (None, CODES))
    for history in requests(10):
        assert_same_ranking(two_stage.top_k([history], 20).row(0), exact.top_k([history], 20).row(0))


def _grown(codes: Codes | None, table: np.ndarray) -> Scorer:
    """`grow_table` needs a student that reads from the scored table."""
    model = onnx.load_from_string(graph_of(TABLE, 0, codes))
    stored = grow_table(model, table)
    return Scorer(model.SerializeToString(), n_items=len(table) - 1, max_length=1, table=stored)


@pytest.fixture(scope="module")
def student() -> sasrec.Model:
    torch.manual_seed(0)
    model = sasrec.Model(sasrec.Config(max_length=5, embedding_dim=DIM, n_blocks=1, n_heads=1), N_ITEMS)
    with torch.no_grad():
        model.items.weight.copy_(torch.from_numpy(TABLE))
    return model


@pytest.mark.usefixtures("traced_once")
def test_the_report_says_what_was_measured(student: sasrec.Model, traced: StudentGraph) -> None:
    exported = export_for_retrieval(student, ExportConfig(retrieval="two_stage"), requests(400))
    assert exported.report is not None
    assert exported.report["retrieval"] == "two_stage"
    assert exported.report["agreement@10"] >= exported.report["required"]
    exact, two_stage = (
        Scorer(graph, n_items=N_ITEMS, max_length=5, table=exported.vectors)
        for graph in (traced.with_ranking(0), exported.graph)
    )
    assert agreement(exact, two_stage, requests(50, seed=1)) >= 0.999


@pytest.mark.usefixtures("traced_once")
def test_small_catalogues_and_exact_recipes_keep_the_exact_graph(student: sasrec.Model) -> None:
    assert AUTO_ITEMS > N_ITEMS
    for config in (ExportConfig(), ExportConfig(retrieval="exact")):
        exported = export_for_retrieval(student, config, requests(20))
        assert exported.report is None
        assert not _has_codes(exported.graph)


@pytest.mark.usefixtures("traced_once")
def test_auto_keeps_the_exact_graph_where_codes_lose_items(
    student: sasrec.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retort.offline.export.retrieval.AUTO_ITEMS", 1)
    monkeypatch.setattr("retort.offline.export.retrieval.LEAST_AGREEMENT", 1.1)
    exported = export_for_retrieval(student, ExportConfig(), requests(400))
    assert exported.report is not None
    assert exported.report["retrieval"] == "exact"
    assert not _has_codes(exported.graph)


def _has_codes(graph: bytes) -> bool:
    return any(tensor.name == "codes" for tensor in onnx.load_from_string(graph).graph.initializer)
