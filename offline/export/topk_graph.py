"""The part of an ONNX graph that all students share: state → scores → hide → top k, built node by node.

The item table is stored once. Its place depends on its size, because ONNX Runtime keeps a second, packed copy of a
constant factor of a matrix product:

- A small table is a constant of the graph. The packed copy costs little and makes batches of all sizes fast.
- A large one is an input of the graph, `table`, fed from the bundle's item vectors, with rows of zeros up to a multiple
  of `CHUNK`. For a single request the table is read row by row. For several, it is the left factor of the product,
  which needs no packing. The top k is computed in two stages with the same result as sorting: the k chunks of items
  with the largest maxima contain the k best items, because each other chunk is below k items of these chunks.

Measurements: docs/experiments.md, "Exact top k at a million items".
"""

# Shapes: B batch, D embedding_dim, N n_items + 1, P rows of the stored table (N, or more with zeros), K requested,
#         C items of a chunk, Q chunks, H hidden

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from retort.offline.export.config import Precision
from retort.offline.export.graph_nodes import TOP, Nodes, tensors
from retort.offline.export.precision import append_table, encode, precision_in, stored_tensors
from retort.offline.export.two_stage import Codes, append_two_stage, constants, recode
from retort.shared.base.errors import BundleError
from retort.shared.base.schema import PAD
from retort.shared.model.scoring import TABLE

CHUNK = 128
# The table and its packed copy then stay in a processor's caches.
CONSTANT_LIMIT_BYTES = 8 * 2**20


def stored_table(table_ND: NDArray[np.float32], limit_bytes: int = CONSTANT_LIMIT_BYTES) -> NDArray[np.float32]:
    """Return the table (P, D) as a bundle stores it and as it is fed to a graph."""
    missing = -len(table_ND) % CHUNK if table_ND.nbytes > limit_bytes else 0
    return np.pad(table_ND, ((0, missing), (0, 0)))


def append_ranking(
    model: onnx.ModelProto,
    table_ND: NDArray[np.float32],
    limit_bytes: int = CONSTANT_LIMIT_BYTES,
    codes: Codes | None = None,
    *,
    precision: Precision = "fp32",
) -> None:
    """Append scoring and top k to a model with the output `state` (B, D), as `shared/model/scoring.py` expects them.

    Args:
        model: Model that the nodes are appended to.
        table_ND: Item table.
        limit_bytes: A larger table is an input of the graph.
        codes: Codes of the items of a large table; single requests are then ranked in two stages by them.
        precision: How a small table is stored; a large one is stored by its bundle.
    """
    graph = model.graph
    table_PD = stored_table(table_ND, limit_bytes)
    large = table_ND.nbytes > limit_bytes
    _share_table(graph, table_ND)
    nodes = Nodes("score")
    if large:
        graph.input.append(helper.make_tensor_value_info(TABLE, TensorProto.FLOAT, table_PD.shape))
        if codes is None:
            _rank_by_case(nodes, _hidden(nodes), TOP)
        else:
            _rank_by_codes(nodes)
            graph.initializer.extend([*codes.tensors(), *constants(len(table_ND), len(table_PD))])
            graph.input.append(codes.input())
    else:
        append_table(graph, table_ND, precision)
        _rank_in_one_stage(nodes, _hidden(nodes), TOP)
    graph.node.extend(nodes.all)
    graph.initializer.extend(_constants(len(table_ND), len(table_PD)))


def append_own_scores(model: onnx.ModelProto, body: onnx.ModelProto, n_rows: int) -> None:
    """Append scoring and top k for a student whose scores are not inner products.

    The rows of a batch are scored one after the other, so memory does not grow with the batch.

    Args:
        model: Model with the output `state` (B, D).
        body: Scoring of one state: (D,) → scores (N,).
        n_rows: N.
    """
    inner = onnx.compose.add_prefix(body, "each_").graph
    nodes = Nodes("score")
    scores_BN = nodes("Scan", "state", body=inner, num_scan_inputs=1)
    _rank_in_one_stage(nodes, _hidden(nodes), TOP, scores=scores_BN)
    model.graph.node.extend(nodes.all)
    model.graph.initializer.extend(_constants(n_rows, n_rows))


def grow_table(model: onnx.ModelProto, table_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """Replace the item table of a finished graph by a larger one; return it as a bundle stores it (P, D).

    Raises:
        BundleError: The student reads its input from another table, which has no rows for new items, or it uses the
            index after its last item for something else, as BERT4Rec once did for its mask.
    """
    graph = model.graph
    precision = precision_in(graph)
    fed = next((value for value in graph.input if value.name == TABLE), None)
    reads = any(node.op_type == "Gather" and node.input[0] == TABLE for node in graph.node)
    if not reads or (precision is None and fed is None):
        raise BundleError(
            "the student of this bundle has separate tables for input and scores, so no item can be added to it; "
            "choose a student with one table (sasrec, gru4rec), or train again with the new items."
        )
    if _compares_with(graph, _rows_of(graph)):
        raise BundleError(
            "this graph uses the index after its last item as a mask, so no item can be added to it; export the "
            "student again with this version."
        )
    table_PD = stored_table(table_ND, limit_bytes=0 if fed is not None else table_ND.nbytes)
    if fed is not None:
        fed.type.tensor_type.shape.dim[0].dim_value = len(table_PD)
    held = [] if precision is None else stored_tensors(table_PD, precision)
    recoded = recode(graph, table_PD, len(table_ND))
    fixed = [*_constants(len(table_ND), len(table_PD)), *constants(len(table_ND), len(table_PD)), *recoded, *held]
    fresh = {tensor.name: tensor for tensor in fixed}
    for tensor in graph.initializer:
        if tensor.name in fresh:
            tensor.CopyFrom(fresh[tensor.name])
    onnx.checker.check_model(model)
    return table_PD if precision is None else encode(table_PD, precision).decoded()


def _rows_of(graph: onnx.GraphProto) -> int:
    """Return n_items + 1 of a finished graph."""
    return int(
        next(numpy_helper.to_array(tensor).item() for tensor in graph.initializer if tensor.name == "score_rows")
    )


def _compares_with(graph: onnx.GraphProto, index: int) -> bool:
    """Return whether the graph compares anything with the index."""
    same = {
        tensor.name for tensor in graph.initializer if not tensor.dims and numpy_helper.to_array(tensor).item() == index
    }
    return any(node.op_type == "Equal" and same & set(node.input) for node in graph.node)


def _share_table(graph: onnx.GraphProto, table_ND: NDArray[np.float32]) -> None:
    """Replace the student's copy of the scored table by `table`, if it reads its items from the same table."""
    for held in graph.initializer:
        if tuple(held.dims) == table_ND.shape and np.array_equal(numpy_helper.to_array(held), table_ND):
            for node in graph.node:
                node.input[:] = [TABLE if name == held.name else name for name in node.input]
            graph.initializer.remove(held)
            return


def _constants(n_rows: int, n_stored: int) -> list[onnx.TensorProto]:
    integers: dict[str, Any] = {
        "never": [[PAD, *range(n_rows, n_stored)]],  # never recommended: PAD and the rows of zeros
        "zero": 0,
        "one": 1,
        "ones": [1],
        "twos": [2],
        "rows": [n_rows],
        "first": [0],
        "flat": [-1],
        "column": [n_stored, -1],
        "by_chunk": [n_stored // CHUNK, CHUNK, -1],
        "n_chunks": [n_stored // CHUNK],
        "chunk": CHUNK,
        "in_chunk": np.arange(CHUNK).reshape(1, 1, CHUNK),
        "keep_flat": [0, -1],
    }
    return [*tensors(integers, np.int64), *tensors({"minus_infinity": -np.inf}, np.float32)]


def _hidden(nodes: Nodes) -> tuple[str, str]:
    """Return the hidden items (B, H) of the caller and those never recommended, and a −∞ for each."""
    batch = nodes("Shape", "hidden", start=0, end=1)
    never_BX = nodes("Expand", "score_never", nodes("Concat", batch, "score_ones", axis=0))
    hidden_BH = nodes("Concat", "hidden", never_BX, axis=1)
    return hidden_BH, nodes("Expand", "score_minus_infinity", nodes("Shape", hidden_BH))


def _rank_in_one_stage(
    nodes: Nodes, hidden: tuple[str, str], outputs: Sequence[str], *, cut: bool = False, scores: str = ""
) -> None:
    """Rank the whole (B, N) scores: the product with the table, or the given `scores`.

    `cut`: remove the table's rows of zeros, for which a bias has no values.
    """
    # Hiding comes before the sum, because it can overwrite the product in place.
    product_BP = scores or nodes("Gemm", "state", TABLE, transB=1)
    scores_BP = nodes("ScatterElements", product_BP, *hidden, axis=1)
    if cut:
        scores_BP = nodes("Slice", scores_BP, "score_first", "score_rows", "score_ones")
    scores_BN = nodes("Add", scores_BP, "bias")
    top_items, top_scores = outputs
    nodes("TopK", scores_BN, "k", into=[top_scores, top_items], axis=1, largest=1, sorted=1)


def _rank_by_codes(nodes: Nodes) -> None:
    """Choose the ranking: by codes first for one row and a usual k, otherwise by the whole table."""
    hidden = _hidden(nodes)
    is_single = nodes("Equal", nodes("Shape", "state", start=0, end=1), "score_ones")
    is_usual = nodes("LessOrEqual", "k", "score_code_k")
    quick, whole = Nodes("quick"), Nodes("whole")
    append_two_stage(quick, hidden, TABLE)
    _rank_by_case(whole, hidden, whole.outputs())
    chosen = nodes("Squeeze", nodes("And", is_single, is_usual))
    nodes("If", chosen, into=TOP, then_branch=quick.branch(), else_branch=whole.branch())


def _rank_by_case(nodes: Nodes, hidden: tuple[str, str], outputs: Sequence[str]) -> None:
    """Choose the ranking: in one stage with a bias per item; otherwise by chunks, for one row or several."""
    batch = nodes("Squeeze", nodes("Shape", "state", start=0, end=1))
    is_single = nodes("Equal", batch, "score_one")
    is_even = nodes("Equal", nodes("Squeeze", nodes("Shape", "bias", start=1, end=2)), "score_one")

    plain, even = Nodes("plain"), Nodes("even")
    _rank_in_one_stage(plain, hidden, plain.outputs(), cut=True)
    single, several = Nodes("single"), Nodes("several")
    scores_1P = single("ScatterElements", single("Gemm", "state", TABLE, transB=1), *hidden, axis=1)
    _rank_by_chunks(single, single("Reshape", scores_1P, "score_column"), batch)
    scores_PB = several("MatMul", TABLE, several("Transpose", "state", perm=[1, 0]))
    turned = [several("Transpose", part, perm=[1, 0]) for part in hidden]
    _rank_by_chunks(several, several("ScatterElements", scores_PB, *turned, axis=0), batch)

    even("If", is_single, into=even.outputs(), then_branch=single.branch(), else_branch=several.branch())
    nodes("If", is_even, into=outputs, then_branch=even.branch(), else_branch=plain.branch())


def _rank_by_chunks(nodes: Nodes, scores_PB: str, batch: str) -> None:
    """Find the best chunks by their maxima, then the best items in them."""
    best_QB = nodes("ReduceMax", nodes("Reshape", scores_PB, "score_by_chunk"), "score_ones", keepdims=0)
    n_kept = nodes("Min", "k", "score_n_chunks")
    _, chunks_BK = nodes.top(nodes("Transpose", best_QB, perm=[1, 0]), n_kept, largest=1, sorted=0)
    # Chunks are sorted by position, so that equal scores keep the order of their indexes.
    chunks_BK, _ = nodes.top(chunks_BK, n_kept, largest=0, sorted=1)
    starts_BK1 = nodes("Mul", nodes("Unsqueeze", chunks_BK, "score_twos"), "score_chunk")
    items_BX = nodes("Reshape", nodes("Add", starts_BK1, "score_in_chunk"), "score_keep_flat")
    rows_B1 = nodes("Unsqueeze", nodes("Range", "score_zero", batch, "score_one"), "score_ones")
    places_BX = nodes("Add", nodes("Mul", items_BX, batch), rows_B1)
    scores_BX = nodes("Gather", nodes("Reshape", scores_PB, "score_flat"), places_BX, axis=0)
    top_BK, places_BK = nodes.top(scores_BX, "k", largest=1, sorted=1)
    items, scores = nodes.outputs()
    nodes("GatherElements", items_BX, places_BK, into=[items], axis=1)
    nodes("Add", top_BK, "bias", into=[scores])
