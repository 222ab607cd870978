"""Scorer: runs a student's ONNX graph, histories in, item indexes and scores out.

Offline evaluation and serving use this class, so that what is measured is what is served.

Contract of the graph (written by `offline/export/onnx.py`):

    inputs   items  int64   (B, T)   sequences, left-padded with PAD, T ≤ max_length
             hidden int64   (B, H)   indexes that must not be returned (seen, excluded), PAD where fewer
             bias   float32 (R, C)   added to the scores before the top k; R is 1 or B, C is 1 or n_items + 1;
                                     −inf removes an item, [[0]] changes nothing
             k      int64   (1,)     1 ≤ k ≤ n_items
    outputs  top_items  int64   (B, k)   best first; equal scores in the order of their index
             top_scores float32 (B, k)   −inf where no item was left

A large item table is not in the graph but a further input, `table` float32 (P, D) with P ≥ n_items + 1: the bundle's
item vectors, which a process then holds once (format version 2; graphs of version 1 have no such input).

PAD is always hidden. A student that uses the user's identity has `users int64 (B,)` too (0 = unknown).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retort.shared.base.errors import BundleError
from retort.shared.base.schema import PAD
from retort.shared.model.sequences import IntArray, left_pad, right_fill

FloatArray = NDArray[np.float32]

TABLE = "table"

_NO_BIAS = np.zeros((1, 1), dtype=np.float32)


@dataclass(frozen=True)
class Ranked:
    """Best items first; where there are fewer than k, items are PAD and scores −inf."""

    items_BK: IntArray
    scores_BK: FloatArray

    def row(self, index: int) -> tuple[IntArray, FloatArray]:
        """Return one row's items and scores, without the empty positions."""
        items_K, scores_K = self.items_BK[index], self.scores_BK[index]
        if items_K[-1] != PAD:  # the empty positions are the last ones
            return items_K, scores_K
        given = items_K != PAD
        return items_K[given], scores_K[given]


class Scorer:
    """ONNX Runtime session over one student's graph; safe to share between threads."""

    def __init__(
        self, graph: bytes, *, n_items: int, max_length: int, threads: int = 1, table: FloatArray | None = None
    ) -> None:
        """Open a session.

        Args:
            table: Item vectors (P, D) for graphs without their own.

        Raises:
            BundleError: The graph requires a table and it is missing or does not fit.
        """
        self._session = _open_session(graph, threads)
        shapes = {node.name: node.shape for node in self._session.get_inputs()}
        self._takes_users = "users" in shapes
        self._fixed = {TABLE: _checked_table(table, shapes[TABLE])} if TABLE in shapes else {}
        self.n_items = n_items
        self.max_length = max_length

    def top_k(
        self,
        histories: Sequence[IntArray],
        k: int,
        *,
        hidden: Sequence[IntArray] | None = None,
        bias: FloatArray | None = None,
        users: IntArray | None = None,
    ) -> Ranked:
        """Return the best k items for each history.

        Args:
            histories: Item indexes, oldest first.
            k: If it exceeds the catalogue, the rows are filled up with PAD.
            hidden: Item indexes that must not be returned; None: the histories themselves.
            bias: Added to the scores, see the graph's contract.
            users: User indexes (B,), for students that use them; None: unknown.
        """
        feed: dict[str, NDArray[np.generic]] = {
            **self._fixed,
            "items": left_pad(histories, self.max_length),
            "hidden": right_fill(histories if hidden is None else hidden),
            "bias": _NO_BIAS if bias is None else bias,
            "k": np.array([min(k, self.n_items)], dtype=np.int64),
        }
        if self._takes_users:
            feed["users"] = np.zeros(len(histories), dtype=np.int64) if users is None else users
        items_BK, scores_BK = self._session.run(["top_items", "top_scores"], feed)
        return _pad_to_k(items_BK, scores_BK, k)


def _open_session(graph: bytes, threads: int) -> Any:
    import onnxruntime as ort  # a tenth of a second, which steps that open no graph do not spend

    # ONNX Runtime must not send usage data to its maker.
    ort.disable_telemetry_events()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads would keep a core busy after every run.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    # Input shapes differ between requests; planning the memory of each costs more than it saves.
    options.enable_mem_pattern = False
    return ort.InferenceSession(graph, options, providers=ort.get_available_providers())


def _checked_table(table: FloatArray | None, shape: list[int]) -> FloatArray:
    if table is None:
        raise BundleError("the graph requires item vectors and there are none; publish the bundle again.")
    if list(table.shape) != shape or table.dtype != np.float32:
        raise BundleError(
            f"the item vectors are {table.dtype} {list(table.shape)} and the graph requires float32 {shape}; "
            "export them again."
        )
    return np.ascontiguousarray(table)


def _pad_to_k(items_BK: IntArray, scores_BK: FloatArray, k: int) -> Ranked:
    if scores_BK[:, -1].min() == -np.inf:
        items_BK = np.where(np.isneginf(scores_BK), PAD, items_BK)
    missing = k - items_BK.shape[1]
    if missing > 0:
        items_BK = np.pad(items_BK, ((0, 0), (0, missing)), constant_values=PAD)
        scores_BK = np.pad(scores_BK, ((0, 0), (0, missing)), constant_values=-np.inf)
    return Ranked(items_BK, scores_BK)
