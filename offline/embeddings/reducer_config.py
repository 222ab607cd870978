"""The recipe's `[reducer]`; in a module of its own, so that recipes are read without the libraries of the reducers."""

from typing import Literal

from pydantic import Field

from retort.offline.common.section import MAX_SEED, Section


class ReducerConfig(Section):
    """Recipe section `[reducer]`: how text vectors become teacher vectors."""

    method: Literal["umap", "pca", "none"] = Field("umap", description="reduction method; none: vectors stay unchanged")
    n_components: int = Field(
        128, ge=1, description="width of the teacher's vectors; with method none: the encoder's width"
    )
    seed: int = Field(42, ge=0, le=MAX_SEED, description="seed of the reduction and of fit_sample")
    fit_sample: int | None = Field(
        100_000, ge=10, description="vectors that the reducer is fitted on; a very large number: all"
    )
    n_neighbors: int = Field(15, ge=2, description="umap")
    min_dist: float = Field(0.1, ge=0, le=1, description="umap")
    metric: Literal["cosine", "euclidean"] = Field("cosine", description="umap")
    n_epochs: int | None = Field(None, ge=1, description="umap; unset: depends on the number of vectors")
    init: Literal["spectral", "pca", "random"] = Field("spectral", description="umap")
    whiten: bool = Field(False, description="pca: scale every component to variance 1")
    normalize: Literal["none", "standardize", "l2"] = Field("none", description="normalisation of the reduced vectors")
