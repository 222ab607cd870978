"""Writer of ONNX nodes: one call appends one node."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TOP = ("top_items", "top_scores")


class Nodes:
    """Nodes of a graph or branch; a call appends a node and returns the name of its first output."""

    def __init__(self, prefix: str) -> None:
        self.all: list[onnx.NodeProto] = []
        self._prefix = prefix

    def __call__(self, operator: str, *inputs: str, into: Sequence[str] = (), **attributes: Any) -> str:
        outputs = into or [f"{self._prefix}_{len(self.all)}"]
        self.all.append(helper.make_node(operator, inputs, outputs, **attributes))
        return outputs[0]

    def top(self, values: str, k: str, **attributes: Any) -> tuple[str, str]:
        """Return the names of values and positions of the k largest along axis 1; `largest=0` for the smallest."""
        names = [f"{self._prefix}_{len(self.all)}_{part}" for part in ("values", "places")]
        self("TopK", values, k, into=names, axis=1, **attributes)
        return names[0], names[1]

    def branch(self) -> onnx.GraphProto:
        """Return these nodes as a branch of an `If`, whose outputs are the best items and their scores."""
        kinds = (TensorProto.INT64, TensorProto.FLOAT)
        outputs = [
            helper.make_tensor_value_info(f"{self._prefix}_{name}", kind, None)
            for name, kind in zip(TOP, kinds, strict=True)
        ]
        return helper.make_graph(self.all, self._prefix, [], outputs)

    def outputs(self) -> list[str]:
        """Return the names of the outputs of `branch`."""
        return [f"{self._prefix}_{name}" for name in TOP]


def tensors(values: Mapping[str, Any], kind: type[np.generic]) -> list[onnx.TensorProto]:
    """Return initializers named `score_…`."""
    return [numpy_helper.from_array(np.array(value, kind), f"score_{name}") for name, value in values.items()]
