"""Search libraries that `benchmarks/retrieval.py` compares with; one that is not installed builds nothing.

A builder takes the vectors (N, D), row 0 of which is PAD, and an effort. It returns a search: state (D,), k → indexes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Search = Callable[[FloatArray, int], NDArray[Any]]
_BUILT: dict[str, Any] = {}


@dataclass(frozen=True)
class Peer:
    """A library. `efforts`: its search settings from cheap to dear; exact ones have one."""

    build: Callable[[FloatArray, int], Search | None]
    efforts: tuple[int, ...] = (0,)

    @property
    def approximate(self) -> bool:
        return len(self.efforts) > 1


def _numpy(table_ND: FloatArray, effort: int) -> Search:
    def search(state_D: FloatArray, k: int) -> NDArray[Any]:
        scores_N = table_ND[1:] @ state_D
        best = np.argpartition(scores_N, -k)[-k:]
        return best[np.argsort(-scores_N[best])] + 1

    return search


def _faiss_flat(table_ND: FloatArray, effort: int) -> Search | None:
    if find_spec("faiss") is None:
        return None
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatIP(table_ND.shape[1])
    index.add(table_ND[1:])
    return lambda state_D, k: index.search(state_D[None], k)[1][0] + 1


def _faiss_hnsw(table_ND: FloatArray, effort: int) -> Search | None:
    if find_spec("faiss") is None:
        return None
    import faiss

    faiss.omp_set_num_threads(1)
    if "faiss_hnsw" not in _BUILT:
        index = faiss.IndexHNSWFlat(table_ND.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = 100
        index.add(table_ND[1:])
        _BUILT["faiss_hnsw"] = index
    index = _BUILT["faiss_hnsw"]
    index.hnsw.efSearch = effort
    return lambda state_D, k: index.search(state_D[None], k)[1][0] + 1


def _hnswlib(table_ND: FloatArray, effort: int) -> Search | None:
    if find_spec("hnswlib") is None:
        return None
    import hnswlib

    if "hnswlib" not in _BUILT:
        index = hnswlib.Index(space="ip", dim=table_ND.shape[1])
        index.init_index(max_elements=len(table_ND), M=32, ef_construction=100)
        index.set_num_threads(1)
        index.add_items(table_ND[1:], np.arange(1, len(table_ND)))
        _BUILT["hnswlib"] = index
    index = _BUILT["hnswlib"]
    index.set_ef(effort)
    return lambda state_D, k: index.knn_query(state_D, k)[0][0]


def _scann(table_ND: FloatArray, effort: int) -> Search | None:
    if find_spec("scann") is None:
        return None
    import scann

    if "scann" not in _BUILT:
        leaves = max(1, int(len(table_ND) ** 0.5))
        builder = scann.scann_ops_pybind.builder(table_ND[1:], 10, "dot_product")
        builder = builder.tree(num_leaves=leaves, num_leaves_to_search=leaves, training_sample_size=100_000)
        _BUILT["scann"] = builder.score_ah(2, anisotropic_quantization_threshold=0.2).reorder(200).build()
    searcher = _BUILT["scann"]
    leaves = effort
    return lambda state_D, k: (
        searcher.search(state_D, final_num_neighbors=k, pre_reorder_num_neighbors=400, leaves_to_search=leaves)[0] + 1
    )


_EFFORTS = (32, 64, 128, 256, 512, 1_024, 2_048)
PEERS = {
    "numpy": Peer(_numpy),
    "faiss_flat": Peer(_faiss_flat),
    "faiss_hnsw": Peer(_faiss_hnsw, _EFFORTS),
    "hnswlib": Peer(_hnswlib, _EFFORTS),
    "scann": Peer(_scann, (8, 16, 32, 64, 128, 256)),
}
