"""Graphs of `benchmarks/retrieval.py`: their state is a row of a table, so that only retrieval is measured."""

import time

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from retort.offline.export.topk_graph import append_ranking, stored_table
from retort.offline.export.two_stage import Codes, make_codes
from retort.shared.model.scoring import TABLE, Scorer

FloatArray = NDArray[np.float32]


def exact_scorer(table_ND: FloatArray, states_SD: FloatArray) -> Scorer:
    """Return the exact graph, with the table as its input."""
    return _scorer(table_ND, states_SD, None)


def two_stage_scorer(table_ND: FloatArray, states_SD: FloatArray, n_bytes: int) -> tuple[Scorer, float]:
    """Return the graph with codes of `n_bytes`, and the seconds of CPU time of coding."""
    started_s = time.process_time()
    codes = make_codes(stored_table(table_ND, 0), len(table_ND), states_SD, n_bytes)
    return _scorer(table_ND, states_SD, codes), time.process_time() - started_s


def naive_scorer(table_ND: FloatArray, states_SD: FloatArray) -> Scorer:
    """Return the graph that an exporter writes: a constant table, all scores, one TopK, and no hiding."""
    nodes = [
        helper.make_node("MatMul", ["state", "columns"], ["scores"]),
        helper.make_node("TopK", ["scores", "k"], ["top_scores", "top_items"], axis=1),
    ]
    model = _state_model(states_SD, len(table_ND))
    model.graph.node.extend(nodes)
    model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(table_ND.T), "columns"))
    return Scorer(model.SerializeToString(), n_items=len(table_ND) - 1, max_length=1)


def _scorer(table_ND: FloatArray, states_SD: FloatArray, codes: Codes | None) -> Scorer:
    model = _state_model(states_SD, len(table_ND))
    append_ranking(model, table_ND, 0, codes)
    stored_PD = stored_table(table_ND, 0)
    assert any(value.name == TABLE for value in model.graph.input)
    return Scorer(model.SerializeToString(), n_items=len(table_ND) - 1, max_length=1, table=stored_PD)


def _state_model(states_SD: FloatArray, n_rows: int) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Gather", ["states", "items"], ["read"]),
        helper.make_node("Squeeze", ["read", "axis"], ["state"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "state",
        [
            value("items", TensorProto.INT64, ["batch", 1]),
            value("hidden", TensorProto.INT64, ["batch", "hidden"]),
            value("bias", TensorProto.FLOAT, ["rows", "columns"]),
            value("k", TensorProto.INT64, [1]),
        ],
        [
            value("top_items", TensorProto.INT64, ["batch", "found"]),
            value("top_scores", TensorProto.FLOAT, ["batch", "found"]),
        ],
        [
            numpy_helper.from_array(np.concatenate([np.zeros_like(states_SD[:1]), states_SD]), "states"),
            numpy_helper.from_array(np.array([1]), "axis"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
