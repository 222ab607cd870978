"""Item tables in fp16 and int8: what is stored, what a graph answers, and the report that the gate reads."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from retort.offline.export.config import ExportConfig, Precision
from retort.offline.export.onnx import StudentGraph
from retort.offline.export.precision import STORED, encode, write_vectors
from retort.offline.export.retrieval import export_for_retrieval
from retort.offline.export.topk_graph import grow_table, stored_table
from retort.offline.students import sasrec
from retort.shared.base.errors import BundleError
from retort.shared.model.bundle_files import ITEM_SCALES, ITEM_VECTORS, read_vectors
from retort.shared.model.scoring import Scorer

N_ITEMS, DIM = 400, 16
REDUCED: tuple[Precision, ...] = ("fp16", "int8")


@pytest.fixture(scope="module")
def student() -> sasrec.Model:
    torch.manual_seed(0)
    return sasrec.Model(sasrec.Config(max_length=8, embedding_dim=DIM, n_blocks=1, n_heads=2), N_ITEMS)


def requests(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(1, N_ITEMS + 1, size=(count, 5)))


@pytest.mark.parametrize("precision", REDUCED)
def test_a_decoded_table_codes_to_itself(precision: Precision) -> None:
    drawn = np.random.default_rng(0).normal(size=(2_000, 7)) * np.logspace(-6, 3, 2_000)[:, None]
    table = drawn.astype(np.float32)
    table[0] = 0
    once = encode(table, precision)
    again = encode(once.decoded(), precision)
    np.testing.assert_array_equal(again.values, once.values)
    np.testing.assert_array_equal(again.decoded(), once.decoded())
    assert not once.decoded()[0].any()
    step = np.abs(table).max(axis=1, keepdims=True) * (2.0**-11 if precision == "fp16" else 0.5001 / 127)
    assert (np.abs(once.decoded() - table) <= step * 1.001 + 2.0**-25).all()


@pytest.mark.parametrize(("precision", "share"), [("fp16", 0.5), ("int8", 0.25)])
@pytest.mark.parametrize("limit_bytes", [0, 1 << 20])
def test_the_graph_answers_from_the_rounded_table(
    traced: StudentGraph, precision: Precision, share: float, limit_bytes: int, tmp_path: Path
) -> None:
    reduced = traced.in_precision(precision)
    table = stored_table(reduced.table_ND, limit_bytes)
    write_vectors(tmp_path, table, precision)
    read = read_vectors(tmp_path)
    assert read is not None
    np.testing.assert_array_equal(read, table)
    assert (tmp_path / ITEM_VECTORS).stat().st_size < share * table.nbytes + 200
    graph = reduced.with_ranking(limit_bytes)
    plain, answered = (
        Scorer(each, n_items=N_ITEMS, max_length=8, table=given).top_k(
            requests(3), 10, bias=np.where(np.arange(N_ITEMS + 1) % 2, 0, -np.inf)[None].astype(np.float32)
        )
        for each, given in ((traced.with_ranking(0), item_vectors_of(traced)), (graph, read))
    )
    assert (answered.items_BK % 2 == 1).all()
    assert not np.isin(answered.items_BK[0], requests(3)[0]).any()
    np.testing.assert_allclose(answered.scores_BK, plain.scores_BK, atol=0.03)
    assert np.abs(answered.scores_BK - plain.scores_BK).max() > 0, "the table is rounded"
    names = {tensor.name for tensor in onnx.load_from_string(graph).graph.initializer}
    assert (STORED in names) == (limit_bytes > 0)


def item_vectors_of(traced: StudentGraph) -> np.ndarray:
    return stored_table(traced.table_ND, 0)


@pytest.mark.parametrize("precision", REDUCED)
@pytest.mark.usefixtures("traced_once")
def test_the_report_says_what_fewer_bits_change(student: sasrec.Model, precision: Precision) -> None:
    exported = export_for_retrieval(student, ExportConfig(precision=precision, least_parity=0.9), requests(40))
    assert exported.parity is not None
    assert exported.parity["precision"] == exported.precision == precision
    assert exported.parity["required"] == 0.9
    assert 0.9 <= exported.parity["agreement@10"] <= 1
    assert 0 < exported.parity["largest_score_difference"] < 0.05
    assert exported.parity["bytes"] < exported.parity["fp32_bytes"]
    assert exported.times is not None
    assert set(exported.times) == {"fp32_ms", f"{precision}_ms"}


@pytest.mark.usefixtures("traced_once")
def test_fp32_has_no_report_and_own_scores_stay_in_fp32(
    student: sasrec.Model, traced: StudentGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert export_for_retrieval(student, ExportConfig(), requests(3)).parity is None
    monkeypatch.setattr(sasrec.Model, "inner_product", False)  # as of neumf, whose export takes seconds
    exported = export_for_retrieval(student, ExportConfig(precision="int8"), requests(3))
    assert (exported.precision, exported.parity) == ("fp32", None)
    np.testing.assert_array_equal(exported.vectors, traced.table_ND)


@pytest.mark.parametrize("precision", REDUCED)
def test_added_items_leave_the_others_as_they_were(traced: StudentGraph, precision: Precision) -> None:
    reduced = traced.in_precision(precision)
    graph = reduced.with_ranking(1 << 20)
    model = onnx.load_from_string(graph)
    table = grow_table(model, np.concatenate([reduced.table_ND, np.full((3, DIM), 0.301, np.float32)]))
    np.testing.assert_array_equal(table[: N_ITEMS + 1], reduced.table_ND)
    np.testing.assert_array_equal(
        table[N_ITEMS + 1 :], encode(np.full((3, DIM), 0.301, np.float32), precision).decoded()
    )
    stored = next(tensor for tensor in model.graph.initializer if tensor.name == STORED)
    assert len(numpy_helper.to_array(stored)) == N_ITEMS + 4
    before = Scorer(graph, n_items=N_ITEMS, max_length=8).top_k(requests(2), 5)
    new = [np.append(history, [N_ITEMS + 1, N_ITEMS + 2, N_ITEMS + 3]) for history in requests(2)]
    after = Scorer(model.SerializeToString(), n_items=N_ITEMS + 3, max_length=8).top_k(requests(2), 5, hidden=new)
    np.testing.assert_array_equal(after.items_BK, before.items_BK)


def test_int8_without_its_scales_is_damaged(tmp_path: Path) -> None:
    write_vectors(tmp_path, np.ones((4, 2), np.float32), "int8")
    (tmp_path / ITEM_SCALES).unlink()
    with pytest.raises(BundleError, match="no float32 scale for each row of int8"):
        read_vectors(tmp_path)
