"""The fit of a UMAP (arXiv 1802.03426). All its arguments are passed by keyword."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from retort.offline.embeddings.reducer_config import ReducerConfig
from retort.offline.embeddings.umap_placement import unite_equal
from retort.offline.embeddings.vectors import FloatArray


def fit_umap(vectors: FloatArray, config: ReducerConfig) -> tuple[FloatArray, Any]:
    """Fit a UMAP; returns the places of the vectors, equal ones of equal vectors, and the UMAP."""
    with warnings.catch_warnings():
        # it warns that TensorFlow, which we do not use, is missing
        warnings.simplefilter("ignore", ImportWarning)
        from umap import UMAP

    umap = UMAP(
        n_components=config.n_components,
        n_neighbors=min(config.n_neighbors, len(vectors) - 1),
        min_dist=config.min_dist,
        metric=config.metric,
        n_epochs=config.n_epochs,
        init=config.init,
        random_state=config.seed,
        transform_seed=config.seed,
        n_jobs=1,  # a seed implies it; stated here, it causes no warning
    )
    with _torch_threads_kept(), warnings.catch_warnings():
        # about its own fallbacks: unconnected graph, spectral initialisation not converged
        warnings.simplefilter("ignore")
        fitted = np.asarray(umap.fit_transform(vectors), dtype=np.float32)
    umap.embedding_ = unite_equal(vectors, fitted)
    return umap.embedding_, umap


@contextmanager
def _torch_threads_kept() -> Iterator[None]:
    """Restore torch's number of threads. Numba's OpenMP layer, which torch shares, sets it to that of all cores."""
    import torch

    n_threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)
