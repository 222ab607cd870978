"""A trained student as one ONNX file with the top k inside; `shared/scoring.py` states its inputs and outputs.

Torch writes the part that differs from student to student (sequences → state). The part that is the same for all
(state → scores → hide → top k) is built here node by node, so that its inputs may have any size.
Objectives stay behind: a distilled student exports exactly what the plain one does.
"""

# Shapes: B batch, T sequence, H hidden, D embedding_dim, N n_items + 1, K asked for

import logging
import warnings

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from offline.students._base import Student
from shared.schema import PAD

OPSET = 18
IR_VERSION = 10


class _LastState(nn.Module):
    """What torch traces: sequences in, (B, D) out."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student

    def forward(self, items: Tensor) -> Tensor:
        return self.student.last_state(items)


def export_student(student: Student) -> bytes:
    """The bytes of one self-contained ONNX model."""
    student = student.eval().cpu()
    encoder = _trace(student)
    table_ND = item_vectors(student)
    return _with_top_k(encoder, table_ND).SerializeToString()


def item_vectors(student: Student) -> NDArray[np.float32]:
    """(N, D): the table that the graph scores against; row 0 is PAD."""
    with torch.no_grad():
        table_ND: NDArray[np.float32] = student.item_table().detach().float().cpu().numpy()
    return table_ND


def _trace(student: Student) -> onnx.ModelProto:
    items_BT = torch.randint(1, student.n_items + 1, (2, min(3, student.config.max_length)))
    items_BT[0, 0] = PAD
    dynamic = {"items": {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}}
    for name in ("onnxscript", "torch.onnx"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            _LastState(student),
            (items_BT,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["items"],
            output_names=["state"],
            dynamic_shapes=dynamic,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("the ONNX exporter returned nothing")
    model = program.model_proto
    _forget_where(model)
    return model


def _forget_where(model: onnx.ModelProto) -> None:
    """Drop the exporter's notes (stack traces with this machine's paths): equal students give equal bytes."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.initializer, *graph.input, *graph.output):
        del part.metadata_props[:]


def _with_top_k(model: onnx.ModelProto, table_ND: NDArray[np.float32]) -> onnx.ModelProto:
    """Append: scores = state · tableᵀ + bias; hidden and PAD to −inf; the best k."""
    graph = model.graph
    n_rows = table_ND.shape[0]
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.ascontiguousarray(table_ND.T), "score_table_DN"),
            numpy_helper.from_array(np.array([PAD], dtype=np.int64), "score_pad"),
            numpy_helper.from_array(np.array([[PAD]], dtype=np.int64), "score_pad_11"),
            numpy_helper.from_array(np.array(-np.inf, dtype=np.float32), "score_minus_inf"),
            numpy_helper.from_array(np.array([0], dtype=np.int64), "score_axis_0"),
            numpy_helper.from_array(np.array([1], dtype=np.int64), "score_one"),
        ]
    )
    node = helper.make_node
    graph.node.extend(
        [
            node("MatMul", ["state", "score_table_DN"], ["score_raw"]),
            node("Add", ["score_raw", "bias"], ["score_biased"]),
            # PAD joins the hidden of every row: [PAD] spread over the batch, then put beside them
            node("Shape", ["hidden"], ["score_hidden_shape"], start=0, end=1),
            node("Concat", ["score_hidden_shape", "score_one"], ["score_pad_shape"], axis=0),
            node("Expand", ["score_pad_11", "score_pad_shape"], ["score_pad_B1"]),
            node("Concat", ["hidden", "score_pad_B1"], ["score_hidden_all"], axis=1),
            node("Shape", ["score_hidden_all"], ["score_all_shape"]),
            node("Expand", ["score_minus_inf", "score_all_shape"], ["score_minus_infs"]),
            node("ScatterElements", ["score_biased", "score_hidden_all", "score_minus_infs"], ["score"], axis=1),
            node("TopK", ["score", "k"], ["top_scores", "top_items"], axis=1, largest=1, sorted=1),
        ]
    )
    value = helper.make_tensor_value_info
    graph.input.extend(
        [
            value("hidden", TensorProto.INT64, ["batch", "hidden"]),
            value("bias", TensorProto.FLOAT, ["bias_rows", "bias_columns"]),
            value("k", TensorProto.INT64, [1]),
        ]
    )
    del graph.output[:]
    graph.output.extend(
        [
            value("top_items", TensorProto.INT64, ["batch", "found"]),
            value("top_scores", TensorProto.FLOAT, ["batch", "found"]),
        ]
    )
    del graph.value_info[:]
    onnx.checker.check_model(model)
    if n_rows < 2:
        raise ValueError("a student without items cannot be exported")
    return model
