"""Runs a student's graph: histories in, item indexes and scores out.

Offline evaluation and serving use this one class, so what was measured is what is served.

The graph's contract (written by `offline/export.py`, format version 1):

    inputs   items  int64   (B, T)   sequences, left-padded with PAD, T ≤ max_length
             hidden int64   (B, H)   indexes that must not come back (seen, excluded), PAD where fewer
             bias   float32 (R, C)   added to the scores before the top k; R is 1 or B, C is 1 or n_items + 1;
                                     −inf removes an item, [[0]] changes nothing
             k      int64   (1,)     1 ≤ k ≤ n_items
    outputs  top_items  int64   (B, k)   best first; equal scores in the order of their index
             top_scores float32 (B, k)   −inf where there was no item left to give

PAD is always hidden. A student that needs to know the user has `users int64 (B,)` too (0 = unknown).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from shared.schema import PAD
from shared.sequences import IntArray, left_pad, right_fill

FloatArray = NDArray[np.float32]

_NO_BIAS = np.zeros((1, 1), dtype=np.float32)


@dataclass(frozen=True)
class Ranked:
    """Best items first. Where fewer than k could be given, items are PAD and scores −inf."""

    items_BK: IntArray
    scores_BK: FloatArray

    def row(self, index: int) -> tuple[IntArray, FloatArray]:
        """One row's items and scores, without the empty places."""
        given = self.items_BK[index] != PAD
        return self.items_BK[index][given], self.scores_BK[index][given]


class Scorer:
    """One ONNX Runtime session over one student's graph. Threads may share it."""

    def __init__(self, graph: bytes, *, n_items: int, max_length: int, threads: int = 1) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # A spinning pool would hold a core after every answer.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self._session = ort.InferenceSession(graph, options, providers=ort.get_available_providers())
        self._wants_users = any(node.name == "users" for node in self._session.get_inputs())
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
        """The best k items for each history (item indexes, oldest first).

        `hidden` defaults to the histories themselves: what was seen does not come back.
        `k` larger than the catalogue gives the catalogue, filled up with PAD.
        """
        feed: dict[str, NDArray[np.generic]] = {
            "items": left_pad(histories, self.max_length),
            "hidden": right_fill(histories if hidden is None else hidden),
            "bias": _NO_BIAS if bias is None else bias,
            "k": np.array([min(k, self.n_items)], dtype=np.int64),
        }
        if self._wants_users:
            feed["users"] = np.zeros(len(histories), dtype=np.int64) if users is None else users
        items_BK, scores_BK = self._session.run(["top_items", "top_scores"], feed)
        return _filled_up(items_BK, scores_BK, k)


def _filled_up(items_BK: IntArray, scores_BK: FloatArray, k: int) -> Ranked:
    items_BK = np.where(np.isneginf(scores_BK), PAD, items_BK)
    missing = k - items_BK.shape[1]
    if missing > 0:
        items_BK = np.pad(items_BK, ((0, 0), (0, missing)), constant_values=PAD)
        scores_BK = np.pad(scores_BK, ((0, 0), (0, missing)), constant_values=-np.inf)
    return Ranked(items_BK, scores_BK)
