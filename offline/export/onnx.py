"""ONNX export of a trained student, top k included; `shared/model/scoring.py` defines its inputs and outputs.

Torch exports the part that differs between students (sequences → state). The part that all students share (state →
scores → hide → top k) is built by `offline/export/topk_graph.py`, so that its inputs may have any size. Objectives are
not exported: a distilled student has the same graph as the plain one.
"""

# Shapes: B batch, T sequence, D embedding_dim, N n_items + 1, P rows of the stored table

import copy
import logging
import warnings
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from retort.offline.export.config import Precision
from retort.offline.export.precision import encode
from retort.offline.export.topk_graph import CONSTANT_LIMIT_BYTES, append_own_scores, append_ranking, stored_table
from retort.offline.export.two_stage import Codes
from retort.offline.losses.divergence import check_modules
from retort.offline.students._base import Student
from retort.shared.base.errors import TrainingError
from retort.shared.base.schema import PAD

OPSET = 18
IR_VERSION = 10


class _LastState(nn.Module):
    """The module that torch exports: sequences (B, T) → last state (B, D)."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student

    def forward(self, items: Tensor) -> Tensor:
        return self.student.last_state(items)


class _ScoresOfState(nn.Module):
    """The scoring that torch exports for a student without inner products: state (D,) → scores (N,)."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student
        self.register_buffer("table_ND", student.item_table().detach().float())

    def forward(self, state: Tensor) -> Tensor:
        return self.student.scores(state[None], self.get_buffer("table_ND"))[0]


class StudentGraph:
    """A student traced once, from which graphs with different rankings are made."""

    def __init__(self, student: Student) -> None:
        """Trace a student; it is left on the CPU in evaluation mode.

        Raises:
            ValueError: The student has no items.
            TrainingError: A weight is NaN or infinite.
        """
        student = student.eval().cpu()
        try:
            check_modules({"the student": student})
        except TrainingError as error:
            raise TrainingError(
                f"this student cannot be exported: {error}; train it again with a lower [training] learning_rate."
            ) from None
        self._model = _trace(student)
        self._body = None if student.inner_product else _trace_scores(student)
        self.table_ND = _item_table(student)
        self._precision: Precision = "fp32"

    def in_precision(self, precision: Precision) -> "StudentGraph":
        """Return the same student with its item table rounded to what is stored.

        Where the student reads its items from the scored table, it reads the rounded one too.
        """
        reduced = copy.copy(self)
        reduced.table_ND = encode(self.table_ND, precision).decoded()
        reduced._precision = precision
        reduced._model = onnx.ModelProto()
        reduced._model.CopyFrom(self._model)
        for held in reduced._model.graph.initializer:
            if tuple(held.dims) == self.table_ND.shape and np.array_equal(numpy_helper.to_array(held), self.table_ND):
                held.CopyFrom(numpy_helper.from_array(reduced.table_ND, held.name))
        return reduced

    def with_ranking(self, limit_bytes: int, codes: Codes | None = None) -> bytes:
        """Return the bytes of a whole model; an item table above the limit is its input."""
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        return _with_ranking(model, self.table_ND, limit_bytes, self._body, codes, self._precision).SerializeToString()


def export_student(student: Student, limit_bytes: int = CONSTANT_LIMIT_BYTES) -> bytes:
    """Export a student as the bytes of one ONNX model with exact retrieval.

    Args:
        student: Trained student; it is left on the CPU in evaluation mode.
        limit_bytes: A larger item table is an input of the graph, fed from the bundle's item vectors.

    Raises:
        ValueError: The student has no items.
        TrainingError: A weight is NaN or infinite.
    """
    return StudentGraph(student).with_ranking(limit_bytes)


def item_vectors(student: Student, limit_bytes: int = CONSTANT_LIMIT_BYTES) -> NDArray[np.float32]:
    """Return the item table (P, D) as a bundle stores it; P may exceed n_items + 1."""
    return stored_table(_item_table(student), limit_bytes)


def _item_table(student: Student) -> NDArray[np.float32]:
    with torch.no_grad():
        table_ND: NDArray[np.float32] = student.item_table().detach().float().cpu().numpy()
    return np.ascontiguousarray(table_ND)


def _trace(student: Student) -> onnx.ModelProto:
    items_BT = torch.randint(1, student.n_items + 1, (2, min(3, student.config.max_length)))
    items_BT[0, 0] = PAD
    dynamic = {"items": {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}}
    return _traced(_LastState(student), items_BT, "items", "state", dynamic)


def _trace_scores(student: Student) -> onnx.ModelProto:
    return _traced(_ScoresOfState(student), torch.zeros(student.config.embedding_dim), "state", "scores", None)


def _traced(module: nn.Module, example: Tensor, input_name: str, output_name: str, dynamic: Any) -> onnx.ModelProto:
    for name in ("onnxscript", "torch.onnx"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations of the exporter itself
        program = torch.onnx.export(
            module.eval(),
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[input_name],
            output_names=[output_name],
            dynamic_shapes=dynamic,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("the ONNX exporter returned nothing")
    model = program.model_proto
    _drop_metadata(model)
    return model


def _drop_metadata(model: onnx.ModelProto) -> None:
    """Drop the exporter's stack traces, which hold local paths, so that equal students give equal bytes."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.initializer, *graph.input, *graph.output):
        del part.metadata_props[:]


def _with_ranking(
    model: onnx.ModelProto,
    table_ND: NDArray[np.float32],
    limit_bytes: int,
    body: onnx.ModelProto | None,
    codes: Codes | None,
    precision: Precision,
) -> onnx.ModelProto:
    if len(table_ND) < 2:
        raise ValueError("a student without items cannot be exported")
    graph = model.graph
    if body is None:
        append_ranking(model, table_ND, limit_bytes, codes, precision=precision)
    else:
        append_own_scores(model, body, len(table_ND))
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
    return model
