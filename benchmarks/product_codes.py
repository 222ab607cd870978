"""`python -m benchmarks.product_codes`: scores of items whose vectors are product codes, as a plain ONNX graph.

A table compressed as in RecJPQ (arXiv 2405.11124) holds M codes of one byte for each item. A score is the sum of M
looked-up products. This measures whether ONNX Runtime's own operators make that faster than a product with int8 codes;
times are CPU time on one thread, the least of several runs.
"""

import argparse

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from benchmarks.graph import least_ms

_CODEBOOK = 256
_RUNS = 15


def main() -> None:
    """Print one line for each number of codes."""
    parser = argparse.ArgumentParser(description="Product codes of an item table in ONNX Runtime.")
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--codes", type=int, nargs="+", default=[8, 16, 32])
    options = parser.parse_args()
    state_1D = np.random.default_rng(0).normal(size=(1, options.dim)).astype(np.float32)
    for n_codes in options.codes:
        session = _session(_product_code_model(options.items, options.dim, n_codes))
        ms = least_ms(lambda session=session: session.run(None, {"state": state_1D}), _RUNS)  # type: ignore[misc]
        print(f"{options.items} items, {n_codes} codes of a byte: {ms:.1f} ms", flush=True)


def _product_code_model(n_items: int, dim: int, n_codes: int) -> bytes:
    """state (1, D) → scores (N,): a table of M × 256 products, looked up by code and summed.

    `Gather` takes indices of 32 bits or more, so the codes need four bytes each.
    """
    random = np.random.default_rng(0)
    codes_MN = random.integers(0, _CODEBOOK, (n_codes, n_items)).astype(np.int32)
    constants = {
        "parts_shape": np.array([n_codes, 1, dim // n_codes]),
        "codebooks": random.normal(size=(n_codes, dim // n_codes, _CODEBOOK)).astype(np.float32),
        "flat_shape": np.array([-1]),
        "codes": codes_MN + _CODEBOOK * np.arange(n_codes, dtype=np.int32)[:, None],
        "axis": np.array([0]),
    }
    nodes = [
        helper.make_node("Reshape", ["state", "parts_shape"], ["parts"]),
        helper.make_node("MatMul", ["parts", "codebooks"], ["products"]),
        helper.make_node("Reshape", ["products", "flat_shape"], ["flat_products"]),
        helper.make_node("Gather", ["flat_products", "codes"], ["terms"]),
        helper.make_node("ReduceSum", ["terms", "axis"], ["scores"], keepdims=0),
    ]
    state = helper.make_tensor_value_info("state", TensorProto.FLOAT, [1, dim])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [n_items])
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "product_codes", [state], [scores], initializers)
    model: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9
    ).SerializeToString()
    return model


def _session(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    main()
