"""The smallest student: its state is a vector of a table. Its graph needs no export from torch."""

import numpy as np
import onnx
from onnx import TensorProto, helper

from retort.offline.export.topk_graph import append_ranking
from retort.offline.export.two_stage import Codes


def graph_of(table: np.ndarray, limit_bytes: int, codes: Codes | None = None) -> bytes:
    """A student whose state is the vector of its only item, read from a table of its own."""
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["items.weight", "items"], ["read"]),
            helper.make_node("Squeeze", ["read", "axis"], ["state"]),
        ],
        "student",
        [helper.make_tensor_value_info("items", TensorProto.INT64, ["batch", 1])],
        [
            helper.make_tensor_value_info("top_items", TensorProto.INT64, ["batch", "found"]),
            helper.make_tensor_value_info("top_scores", TensorProto.FLOAT, ["batch", "found"]),
        ],
        [
            onnx.numpy_helper.from_array(table, "items.weight"),
            onnx.numpy_helper.from_array(np.array([1]), "axis"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    append_ranking(model, table, limit_bytes, codes)
    model.graph.input.extend(
        [
            helper.make_tensor_value_info("hidden", TensorProto.INT64, ["batch", "hidden"]),
            helper.make_tensor_value_info("bias", TensorProto.FLOAT, ["rows", "columns"]),
            helper.make_tensor_value_info("k", TensorProto.INT64, [1]),
        ]
    )
    onnx.checker.check_model(model)
    payload: bytes = model.SerializeToString()
    return payload
