"""Item tables in fewer bits, and the report of what they change (`[export] precision`).

fp16 rounds each value. int8 has one scale for each row, so that a rare item with a short vector is as exact as others.
Scales have 16 significant bits: a decoded row then codes to itself, and a table to which items are added keeps its own.

A small table is stored in the graph and decoded once, when ONNX Runtime opens it; a large one is decoded when the
bundle is opened. So a bundle is smaller on disk and in transfer, while the memory and the speed of a server do not
change.
"""

# Shapes: P rows of the stored table, D embedding_dim

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from retort.offline.export.config import Precision
from retort.shared.model.bundle_files import ITEM_SCALES, ITEM_VECTORS, StoredVectors, read_stored_vectors
from retort.shared.model.scoring import TABLE, Scorer
from retort.shared.model.sequences import IntArray

STORED, SCALES = "table_stored", "table_scales"
_LEVELS = 127
_SCALE_STEPS = 2.0**16
_PLACES = 10
_DTYPES: dict[str, Precision] = {"float32": "fp32", "float16": "fp16", "int8": "int8"}


def encode(table_PD: NDArray[np.float32], precision: Precision) -> StoredVectors:
    """Return a table as it is stored."""
    if precision == "fp32":
        return StoredVectors(table_PD)
    if precision == "fp16":
        return StoredVectors(table_PD.astype(np.float16))
    largest_P1 = np.abs(table_PD).max(axis=1, keepdims=True)
    mantissa, exponent = np.frexp(np.where(largest_P1 > 0, largest_P1 / _LEVELS, 1))
    scales_P1 = np.ldexp(np.ceil(mantissa * _SCALE_STEPS) / _SCALE_STEPS, exponent).astype(np.float32)
    return StoredVectors(np.rint(table_PD / scales_P1).astype(np.int8), scales_P1)


def bundle_precision(folder: Path) -> Precision:
    """Return the precision of a bundle's item vectors; fp32 where it has none."""
    stored = read_stored_vectors(folder)
    return "fp32" if stored is None else _DTYPES[stored.values.dtype.name]


def write_vectors(folder: Path, table_PD: NDArray[np.float32], precision: Precision) -> None:
    """Write a table as the item vectors of a bundle or an export."""
    stored = encode(table_PD, precision)
    np.save(folder / ITEM_VECTORS, stored.values, allow_pickle=False)
    if stored.scales is not None:
        np.save(folder / ITEM_SCALES, stored.scales, allow_pickle=False)


def append_table(graph: onnx.GraphProto, table_ND: NDArray[np.float32], precision: Precision) -> None:
    """Append a small table as a constant named `table`; in fewer bits, nodes that decode it come first."""
    tensors = stored_tensors(table_ND, precision)
    graph.initializer.extend(tensors)
    if precision == "fp32":
        return
    decoded = TABLE if precision == "fp16" else f"{TABLE}_levels"
    nodes = [helper.make_node("Cast", [STORED], [decoded], to=TensorProto.FLOAT)]
    if precision == "int8":
        nodes.append(helper.make_node("Mul", [decoded, SCALES], [TABLE]))
    others = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *others])


def stored_tensors(table_ND: NDArray[np.float32], precision: Precision) -> list[onnx.TensorProto]:
    """Return the initializers of a small table."""
    stored = encode(table_ND, precision)
    values = numpy_helper.from_array(stored.values, TABLE if precision == "fp32" else STORED)
    return [values] if stored.scales is None else [values, numpy_helper.from_array(stored.scales, SCALES)]


def precision_in(graph: onnx.GraphProto) -> Precision | None:
    """Return the precision of the table inside a finished graph; None where the table is an input."""
    for tensor in graph.initializer:
        if tensor.name in (TABLE, STORED):
            return _DTYPES[numpy_helper.to_array(tensor).dtype.name]
    return None


@dataclass(frozen=True)
class Measured:
    """A graph with the scorer that is compared, and the bytes that a bundle stores of it."""

    scorer: Scorer
    stored_bytes: int


def measure_parity(
    precision: Precision, exact: Measured, reduced: Measured, histories: Sequence[IntArray], least: float
) -> tuple[dict[str, Any], dict[str, float]]:
    """Compare the lists of two graphs on single requests.

    Returns:
        The report, and the median milliseconds of a request, which are no part of it: equal runs seal equal bundles.
    """
    shared = total = 0
    largest_difference = 0.0
    times: dict[str, list[float]] = {"fp32_ms": [], f"{precision}_ms": []}
    for history in histories:
        lists = []
        for kept, each in zip(times.values(), (exact, reduced), strict=True):
            started_s = perf_counter()
            lists.append(each.scorer.top_k([history], _PLACES).row(0))
            kept.append((perf_counter() - started_s) * 1000)
        (items, scores), (others, other_scores) = lists
        _, places, other_places = np.intersect1d(items, others, return_indices=True)
        differences = np.abs(scores[places] - other_scores[other_places])
        largest_difference = max(largest_difference, float(differences.max(initial=0.0)))
        shared, total = shared + len(places), total + len(items)
    report = {
        "precision": precision,
        "agreement@10": shared / max(total, 1),
        "required": least,
        "requests": len(histories),
        "largest_score_difference": largest_difference,
        "bytes": reduced.stored_bytes,
        "fp32_bytes": exact.stored_bytes,
    }
    return report, {name: round(float(np.median(values)), 3) for name, values in times.items() if values}


def describe_parity(report: dict[str, Any]) -> str:
    """Return the report as one line."""
    return (
        f"{report['precision']}: {report['agreement@10']:.2%} of the first ten as in fp32 "
        f"({report['required']:.1%} are required), scores differ by up to {report['largest_score_difference']:.2g}, "
        f"{report['bytes'] / 1e6:.1f} MB in place of {report['fp32_bytes'] / 1e6:.1f}"
    )
