"""Two-stage ranking of a large item table: int8 codes of all items choose candidates, float32 vectors rank these.

A code holds the directions of the table that matter most for scores, in M bytes an item in place of 4 D, so a request
reads M / 4 D of the memory. Where codes and state are multiplied, ONNX Runtime has a fast kernel for one row only of
unsigned times signed integers without zero points and with a factor that is not a constant. Three choices follow:

- The codes are an initializer that is also listed as an input of the graph: not a constant, yet in the one ONNX file.
- A state is coded by 1…127 with 64 for zero. The codes of an item sum to 0, so the 64 changes no score.
- 7 bits for the state keep the sums of two products within 16 bits, which processors without VNNI require.

Hidden and filtered items are removed before candidates are chosen. So a filter that leaves 20 items yields these 20.
"""

# Shapes: D embedding_dim, M bytes of a code, N n_items + 1, P rows of the stored table, S states, C kept blocks,
#         Y their items, X candidates

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from retort.offline.export.graph_nodes import Nodes, tensors

FloatArray = NDArray[np.float32]

CODES = "codes"
BLOCK = 32
KEPT, KEPT_OF_PART = 256, 512  # candidates besides k: for codes of all directions, and of fewer
LARGEST_K = 1_000  # a larger k reads the whole table
STATE_LEVELS = 63
_ITEM_LEVELS = 126  # one below the limit of int8, so that a code can be corrected by 1
_ROWS_AT_ONCE = 1 << 15
_RIDGE = 1e-3


@dataclass(frozen=True)
class Codes:
    """Codes of an item table.

    Attributes:
        turn_DM: Maps a state to the space of the codes.
        item_turn_DM: Maps an item vector, less the mean vector, to the same space.
        mean_D: Mean item vector. It adds the same to all scores of a request, so codes leave it out.
        unit: Value of one step of a code.
        codes_MP: One column for each row of the stored table; rows of zeros have zeros.
    """

    turn_DM: FloatArray
    item_turn_DM: FloatArray
    mean_D: FloatArray
    unit: float
    codes_MP: NDArray[np.int8]

    def tensors(self) -> list[onnx.TensorProto]:
        """Return the initializers of a graph that ranks with these codes."""
        arrays = {
            CODES: self.codes_MP,
            "code_turn": self.turn_DM,
            "code_item_turn": self.item_turn_DM,
            "code_mean": self.mean_D,
            "code_unit": np.array(self.unit, np.float32),
            "code_kept": np.array([KEPT if len(self.codes_MP) >= len(self.mean_D) else KEPT_OF_PART]),
        }
        return [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in arrays.items()]

    def input(self) -> onnx.ValueInfoProto:
        """Return the entry in the graph's inputs that keeps the codes from being a constant."""
        return helper.make_tensor_value_info(CODES, TensorProto.INT8, self.codes_MP.shape)


def make_codes(table_PD: FloatArray, n_rows: int, states_SD: FloatArray, n_bytes: int) -> Codes:
    """Code an item table.

    Args:
        table_PD: Stored table.
        n_rows: N; rows from there on are zeros.
        states_SD: States of typical requests. They weight the directions of the table; with few of them, all
            directions of states count alike.
        n_bytes: M; a code keeps the M - 1 most important directions.
    """
    items_ND = table_PD[1:n_rows]
    mean_D = items_ND.mean(axis=0, dtype=np.float64).astype(np.float32)
    turn_DM, item_turn_DM = _turns(_covariance(items_ND, mean_D), states_SD, n_bytes)
    return _code(table_PD, n_rows, mean_D, turn_DM, item_turn_DM)


def recode(graph: onnx.GraphProto, table_PD: FloatArray, n_rows: int) -> list[onnx.TensorProto]:
    """Code a table with more rows in the space of a finished graph; without codes: nothing."""
    held = {tensor.name: tensor for tensor in graph.initializer}
    if CODES not in held:
        return []
    turn_DM, item_turn_DM, mean_D = (
        numpy_helper.to_array(held[f"code_{name}"]) for name in ("turn", "item_turn", "mean")
    )
    codes = _code(table_PD, n_rows, mean_D, turn_DM, item_turn_DM)
    next(value for value in graph.input if value.name == CODES).CopyFrom(codes.input())
    return codes.tensors()


def append_two_stage(nodes: Nodes, hidden: tuple[str, str], table: str) -> None:
    """Append the ranking of one state to a branch: score all codes, keep the best blocks, rank their items exactly."""
    turned_1M = nodes("MatMul", "state", "code_turn")
    largest_11 = nodes("ReduceMax", nodes("Abs", turned_1M), keepdims=1)
    step_11 = nodes("Max", nodes("Div", largest_11, "score_code_levels"), "score_code_least")
    levels_1M = nodes("Add", nodes("Round", nodes("Div", turned_1M, step_11)), "score_code_zero")
    levels_1M = nodes("Cast", levels_1M, to=TensorProto.UINT8)
    scale_11 = nodes("Mul", step_11, "code_unit")
    is_even = nodes("Equal", nodes("Shape", "bias", start=1, end=2), "score_ones")
    even, biased = Nodes("quick_even"), Nodes("quick_biased")
    # The products are inside the branches, because only there can hiding overwrite them in place.
    # Without a bias per item the order of the sums is enough.
    lowest = even("Expand", "score_lowest", even("Shape", hidden[0]))
    even_1P = even("ScatterElements", even("MatMulInteger", levels_1M, CODES), hidden[0], lowest, axis=1)
    _rank_candidates(even, even_1P, "score_lowest", table)
    scaled_1P = biased("Mul", biased("Cast", biased("MatMulInteger", levels_1M, CODES), to=TensorProto.FLOAT), scale_11)
    added_1P = biased("Add", scaled_1P, biased("Pad", "bias", "score_to_stored"))
    _rank_candidates(biased, biased("ScatterElements", added_1P, *hidden, axis=1), "score_minus_infinity", table)
    nodes(
        "If",
        nodes("Squeeze", is_even),
        into=nodes.outputs(),
        then_branch=even.branch(),
        else_branch=biased.branch(),
    )


def _rank_candidates(nodes: Nodes, approximate_1P: str, removed: str, table: str) -> None:
    """Rank the best items exactly; those with the approximate score `removed` are hidden or filtered.

    The n best items are in the n blocks with the largest maxima. Blocks and items are sorted by position, so that equal
    scores keep the order of their indexes.
    """
    by_block = nodes("Reshape", approximate_1P, "score_by_block")
    best_1Q = nodes("Reshape", nodes("ReduceMax", by_block, "score_ones", keepdims=0), "score_row")
    wanted = nodes("Add", "k", "code_kept")
    n_blocks = nodes("Min", wanted, "score_n_blocks")
    _, blocks_1C = nodes.top(best_1Q, n_blocks, largest=1, sorted=0)
    blocks_1C, _ = nodes.top(blocks_1C, n_blocks, largest=0, sorted=1)
    blocks_C = nodes("Reshape", blocks_1C, "score_flat")
    near_1Y = nodes("Reshape", nodes("Gather", by_block, blocks_C, axis=0), "score_row")
    starts_C1 = nodes("Mul", nodes("Unsqueeze", blocks_C, "score_ones"), "score_block")
    items_1Y = nodes("Reshape", nodes("Add", starts_C1, "score_in_block"), "score_row")
    n_items = nodes("Min", wanted, nodes("Shape", near_1Y, start=1, end=2))
    near_1X, places_1X = nodes.top(near_1Y, n_items, largest=1, sorted=0)
    items_1X = nodes("GatherElements", items_1Y, places_1X, axis=1)
    items_1X, order_1X = nodes.top(items_1X, n_items, largest=0, sorted=1)
    is_removed_1X = nodes("Equal", nodes("GatherElements", near_1X, order_1X, axis=1), removed)
    rows_XD = nodes("Gather", table, nodes("Reshape", items_1X, "score_flat"), axis=0)
    exact_1X = nodes("Add", nodes("Gemm", "state", rows_XD, transB=1), _bias_of(nodes, items_1X))
    scores_1X = nodes("Where", is_removed_1X, "score_minus_infinity", exact_1X)
    items, scores = nodes.outputs()
    names = [scores, f"{items}_places"]
    nodes("TopK", scores_1X, "k", into=names, axis=1, largest=1, sorted=1)
    nodes("GatherElements", items_1X, names[1], into=[items], axis=1)


def constants(n_rows: int, n_stored: int) -> list[onnx.TensorProto]:
    """Return the constants of `append_two_stage`."""
    integers: dict[str, Any] = {
        "code_k": [LARGEST_K],
        "by_block": [n_stored // BLOCK, BLOCK],
        "n_blocks": [n_stored // BLOCK],
        "block": BLOCK,
        "in_block": np.arange(BLOCK).reshape(1, BLOCK),
        "row": [1, -1],
        "to_stored": [0, 0, 0, n_stored - n_rows],
    }
    numbers = {"code_levels": STATE_LEVELS, "code_zero": STATE_LEVELS + 1, "code_least": 1e-30}
    lowest = {"lowest": np.iinfo(np.int32).min}
    return [*tensors(integers, np.int64), *tensors(numbers, np.float32), *tensors(lowest, np.int32)]


def _bias_of(nodes: Nodes, items_1X: str) -> str:
    """Return the bias of the items: an even one has one value, which is that of all items."""
    last = nodes("Sub", nodes("Shape", "bias", start=1, end=2), "score_ones")
    return nodes("Gather", nodes("Reshape", "bias", "score_flat"), nodes("Min", items_1X, last), axis=0)


def _covariance(items_ND: FloatArray, mean_D: FloatArray) -> NDArray[np.float64]:
    dim = items_ND.shape[1]
    total_DD = np.zeros((dim, dim))
    for part in _parts(items_ND):
        centred = part - mean_D
        total_DD += centred.T @ centred
    return total_DD / len(items_ND)


def _turns(items_DD: NDArray[np.float64], states_SD: FloatArray, n_bytes: int) -> tuple[FloatArray, FloatArray]:
    """Return the maps of states and item vectors to codes, such that their products are the important part of scores.

    The directions are those of the singular value decomposition of states times items. Both sides get equal shares of
    the singular values. An orthogonal map spreads them over M values that sum to zero.
    """
    dim = len(items_DD)
    enough = len(states_SD) >= 2 * dim
    states_DD = states_SD.T.astype(np.float64) @ states_SD / max(len(states_SD), 1) if enough else np.eye(dim)
    states_DD += np.eye(dim) * (_RIDGE * np.trace(states_DD) / dim + 1e-30)
    values_D, vectors_DD = np.linalg.eigh(states_DD)
    root_DD = vectors_DD * np.sqrt(values_D) @ vectors_DD.T
    inverse_DD = vectors_DD / np.sqrt(values_D) @ vectors_DD.T
    strength_D, turn_DD = np.linalg.eigh(root_DD @ items_DD @ root_DD)
    kept = min(n_bytes - 1, dim)
    strength_K = np.maximum(strength_D[::-1][:kept], strength_D[-1] * 1e-9 + 1e-30) ** 0.25
    turn_DK = turn_DD[:, ::-1][:, :kept]
    drawn = np.random.default_rng(0).standard_normal((n_bytes, kept))
    spread_MK = np.linalg.qr(np.column_stack([np.ones(n_bytes), drawn]))[0][:, 1:]
    turn_DM = inverse_DD @ (turn_DK * strength_K) @ spread_MK.T
    item_turn_DM = root_DD @ (turn_DK / strength_K) @ spread_MK.T
    return turn_DM.astype(np.float32), item_turn_DM.astype(np.float32)


def _code(
    table_PD: FloatArray, n_rows: int, mean_D: FloatArray, turn_DM: FloatArray, item_turn_DM: FloatArray
) -> Codes:
    items_ND = table_PD[1:n_rows]
    largest = max(float(np.abs((part - mean_D) @ item_turn_DM).max()) for part in _parts(items_ND))
    # Equal rows differ from their mean by rounding alone, which must not be coded.
    unit = max(largest, 1e-5 * float(np.abs(items_ND).max()), 1e-30) / _ITEM_LEVELS
    codes_MP = np.zeros((item_turn_DM.shape[1], len(table_PD)), np.int8)
    for start in range(1, n_rows, _ROWS_AT_ONCE):
        end = min(start + _ROWS_AT_ONCE, n_rows)
        exact_NM = ((table_PD[start:end] - mean_D) @ item_turn_DM) * np.float32(1 / unit)
        codes_MP[:, start:end] = _rounded_to_zero_sum(exact_NM).T
    return Codes(turn_DM, item_turn_DM, mean_D, unit, codes_MP)


def _rounded_to_zero_sum(exact_NM: NDArray[np.floating]) -> NDArray[np.int8]:
    """Round rows that sum to zero to integers that sum to zero: each value carries its error to the next one."""
    sums_NM = np.rint(np.cumsum(exact_NM, axis=1))
    sums_NM[:, -1] = 0
    return np.diff(sums_NM, axis=1, prepend=0).astype(np.int8)


def _parts(rows: FloatArray) -> list[FloatArray]:
    return [rows[start : start + _ROWS_AT_ONCE] for start in range(0, len(rows), _ROWS_AT_ONCE)]
