"""Export of a student with the retrieval and the precision of its recipe, and how far its lists agree with exact."""

# Shapes: S sampled requests, D embedding_dim, K list length

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from retort.offline.export.config import ExportConfig, Precision
from retort.offline.export.onnx import StudentGraph
from retort.offline.export.precision import Measured, encode, measure_parity
from retort.offline.export.topk_graph import CONSTANT_LIMIT_BYTES, stored_table
from retort.offline.export.two_stage import make_codes
from retort.offline.students._base import Student
from retort.shared.model.scoring import Scorer
from retort.shared.model.sequences import IntArray, left_pad

AUTO_ITEMS = 100_000
LEAST_AGREEMENT = 0.999
_PLACES = 10
_FITTED, _COMPARED = 1_024, 256


@dataclass(frozen=True)
class Exported:
    """An exported student.

    Attributes:
        graph: Bytes of the ONNX model.
        vectors: Item table (P, D), decoded.
        report: Which retrieval the graph has and how it was chosen; None where there was no choice.
        precision: How the bundle stores the item table.
        parity: How the lists differ from those of fp32; None in fp32.
        times: Median milliseconds of a request in fp32 and in the precision; None in fp32.
    """

    graph: bytes
    vectors: NDArray[np.float32]
    report: dict[str, Any] | None = None
    precision: Precision = "fp32"
    parity: dict[str, Any] | None = None
    times: dict[str, float] | None = None


def export_for_retrieval(student: Student, config: ExportConfig, histories: Sequence[IntArray]) -> Exported:
    """Export a student with the retrieval and the precision of its recipe.

    A student whose scores are not inner products is stored in fp32: its scores depend on more than the item table.

    Args:
        student: Trained student.
        config: The recipe's `[export]`.
        histories: Histories that requests may have, such as those of the training; they weight the directions of the
            codes, and others of them are compared.
    """
    traced = StudentGraph(student)
    if config.precision == "fp32" or not student.inner_product:
        return _export(student, traced, config, histories)
    exact = _export(student, traced, config.model_copy(update={"retrieval": "exact"}), histories)
    exported = _export(student, traced.in_precision(config.precision), config, histories)
    exported = replace(exported, precision=config.precision)
    compared = _sample(histories, _COMPARED)
    sides = [Measured(_scorer(student, each.graph, each.vectors), _stored_bytes(each)) for each in (exact, exported)]
    parity, times = measure_parity(config.precision, sides[0], sides[1], compared, config.least_parity)
    return replace(exported, parity=parity, times=times)


def _export(student: Student, traced: StudentGraph, config: ExportConfig, histories: Sequence[IntArray]) -> Exported:
    """Export a student with the retrieval of its recipe."""
    wanted = config.retrieval == "two_stage" or (config.retrieval == "auto" and student.n_items >= AUTO_ITEMS)
    sampled = _sample(histories, _FITTED + _COMPARED) if wanted and student.inner_product else []
    if not sampled:
        limit = CONSTANT_LIMIT_BYTES
        return Exported(traced.with_ranking(limit), stored_table(traced.table_ND, limit))
    return _with_codes(student, traced, config, sampled)


def agreement(one: Scorer, other: Scorer, histories: Sequence[IntArray], places: int = _PLACES) -> float:
    """Return the share of the first items that two scorers have in common, over single requests."""
    shared = total = 0
    for history in histories:
        items, others = (scorer.top_k([history], places).row(0)[0] for scorer in (one, other))
        shared += len(np.intersect1d(items, others))
        total += len(items)
    return shared / max(total, 1)


def _with_codes(
    student: Student, traced: StudentGraph, config: ExportConfig, histories: Sequence[IntArray]
) -> Exported:
    """Try codes of half the vector's length, then of all of it."""
    table_PD = stored_table(traced.table_ND, 0)
    n_compared = max(1, len(histories) * _COMPARED // (_FITTED + _COMPARED))
    compared, fitted = histories[:n_compared], histories[n_compared:]
    states_SD = _states(student, fitted)
    exact = traced.with_ranking(0)
    exact_scorer = _scorer(student, exact, table_PD)
    dim, tried = table_PD.shape[1], {}
    for n_bytes in (_multiple_of_four(dim / 2), _multiple_of_four(dim)):
        graph = traced.with_ranking(0, make_codes(table_PD, len(traced.table_ND), states_SD, n_bytes))
        tried[n_bytes] = agreement(exact_scorer, _scorer(student, graph, table_PD), compared)
        if tried[n_bytes] >= LEAST_AGREEMENT:
            break
    report = {
        "agreement@10": tried[n_bytes],
        "required": LEAST_AGREEMENT,
        "requests": len(compared),
        "code_bytes": n_bytes,
        "tried": tried,
    }
    if config.retrieval == "auto" and tried[n_bytes] < LEAST_AGREEMENT:
        return Exported(exact, table_PD, {"retrieval": "exact", **report})
    return Exported(graph, table_PD, {"retrieval": "two_stage", **report})


def _stored_bytes(exported: Exported) -> int:
    """Return the bytes of the graph and the item vectors in a bundle."""
    stored = encode(exported.vectors, exported.precision)
    scales = 0 if stored.scales is None else stored.scales.nbytes
    return len(exported.graph) + stored.values.nbytes + scales


def _scorer(student: Student, graph: bytes, table_PD: NDArray[np.float32]) -> Scorer:
    return Scorer(graph, n_items=student.n_items, max_length=student.config.max_length, table=table_PD)


def _sample(histories: Sequence[IntArray], size: int) -> list[IntArray]:
    """Return a fixed random sample of histories, each cut at a random place, because requests come at all lengths."""
    random = np.random.default_rng(0)
    shuffled = (histories[row] for row in random.permutation(len(histories)))
    chosen = islice((history for history in shuffled if len(history)), size)
    return [history[: random.integers(1, len(history) + 1)] for history in chosen]


def _states(student: Student, histories: Sequence[IntArray]) -> NDArray[np.float32]:
    dim = int(student.item_table().shape[1])
    parts = [np.zeros((0, dim), np.float32)]
    with torch.no_grad():
        for start in range(0, len(histories), 64):
            items_BT = left_pad(histories[start : start + 64], student.config.max_length)
            parts.append(student.last_state(torch.from_numpy(items_BT)).float().numpy())
    return np.concatenate(parts)


def _multiple_of_four(value: float) -> int:
    """Round up to what the kernel reads at a time, and at least two directions."""
    return max(4, -4 * int(-value // 4))
