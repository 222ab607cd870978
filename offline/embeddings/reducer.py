"""Dimension reduction of text vectors: UMAP, PCA, or none.

A reducer is fitted once, stored, and applied to new users.
"""

import json
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from retort.offline.common.progress import Progress
from retort.offline.embeddings.reducer_config import ReducerConfig
from retort.offline.embeddings.reduction_quality import ReductionQuality, measure_reduction
from retort.offline.embeddings.umap_fit import fit_umap
from retort.offline.embeddings.umap_placement import place_vectors
from retort.offline.embeddings.vectors import FloatArray
from retort.shared.base.errors import ProfileError

_FORMAT = 1
_HEAD, _UMAP, _ARRAYS = "reducer.json", "umap.joblib", "arrays.npz"
_LIBRARIES = ("umap-learn", "scikit-learn", "numpy", "numba")


@dataclass(frozen=True)
class Reducer:
    """Fitted reducer: (N, E) → (N, P). A vector's result does not depend on the other vectors of a call."""

    config: ReducerConfig
    in_width: int
    out_width: int
    arrays: dict[str, FloatArray]
    umap: Any = None

    def transform(self, vectors: FloatArray) -> FloatArray:
        """Reduce vectors (N, E) to (N, P) without fitting.

        Raises:
            ProfileError: The width is not the encoder's, or a value is not finite.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.in_width:
            raise ProfileError(
                f"vectors of shape {vectors.shape} do not fit a reducer for width {self.in_width}; "
                "use the encoder that it was fitted with."
            )
        if not len(vectors):
            return np.empty((0, self.out_width), np.float32)
        _check_finite(vectors)
        return self.finish(self.project(vectors))

    def project(self, vectors: FloatArray) -> FloatArray:
        """Reduce without `normalize`."""
        if self.config.method == "none":
            return vectors.astype(np.float32)
        if self.config.method == "pca":
            return ((vectors - self.arrays["mean"]) @ self.arrays["components"].T).astype(np.float32)
        return place_vectors(self.umap, self.config.metric, vectors)

    def finish(self, mapped: FloatArray) -> FloatArray:
        """Apply `normalize` with the statistics of the fit."""
        if mapped.shape[1] != self.out_width:
            raise ProfileError(
                f"the reducer returned {mapped.shape[1]} components instead of {self.out_width}; fit it again."
            )
        if self.config.normalize == "standardize":
            mapped = (mapped - self.arrays["shift"]) / self.arrays["scale"]
        elif self.config.normalize == "l2":
            mapped = mapped / np.maximum(np.linalg.norm(mapped, axis=1, keepdims=True), 1e-12)
        return mapped.astype(np.float32)

    def save(self, folder: Path) -> None:
        """Write the reducer, its config and the versions of the libraries that made it."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.umap is not None:
            import joblib  # with psutil thirty milliseconds, only for UMAP

            joblib.dump(self.umap, folder / _UMAP)
        np.savez(folder / _ARRAYS, allow_pickle=False, **self.arrays)
        head = {
            "format": _FORMAT,
            "config": self.config.model_dump(mode="json"),
            "in_width": self.in_width,
            "out_width": self.out_width,
            "libraries": _versions(),
        }
        # written last: a folder with this file is complete
        (folder / _HEAD).write_text(json.dumps(head, indent=2), encoding="utf-8")


@dataclass(frozen=True)
class Reduced:
    """Result of a fit: the reducer, all reduced vectors (N, P), and the quality of the reduction."""

    reducer: Reducer
    vectors: FloatArray
    quality: ReductionQuality | None


def fit_reducer(vectors: FloatArray, config: ReducerConfig, progress: Progress) -> Reduced:
    """Fit a reducer on a seeded sample and reduce all vectors.

    Raises:
        ProfileError: `n_components` is too large, or a vector or the result is not finite.
    """
    _check_finite(vectors)
    n, in_width = vectors.shape
    rng = np.random.default_rng(config.seed)
    n_fit = min(n, config.fit_sample or n)
    rows = np.arange(n) if n_fit == n else np.sort(rng.choice(n, n_fit, replace=False))
    _check_size(config, n_fit, in_width)
    progress.say(f"reducing {n} vectors of width {in_width} by {config.method}, fitted on {n_fit}")
    unscaled, fitted = _fit(vectors[rows], config)
    mapped = np.empty((n, unscaled.out_width), np.float32)
    mapped[rows] = fitted
    if n_fit < n:
        others = np.setdiff1d(np.arange(n), rows)
        mapped[others] = unscaled.project(vectors[others])
    if not np.isfinite(mapped).all():
        raise ProfileError("the reduced vectors contain NaN or infinity; try [reducer] init = 'pca' or method = 'pca'.")
    spread = np.where((scale := fitted.std(axis=0)) > 0, scale, 1.0).astype(np.float32)
    arrays = {**unscaled.arrays, "shift": fitted.mean(axis=0).astype(np.float32), "scale": spread}
    reducer = Reducer(config, in_width, unscaled.out_width, arrays, unscaled.umap)
    reduced = reducer.finish(mapped)
    quality = None if config.method == "none" else measure_reduction(vectors, reduced, config.seed)
    if quality is not None:
        progress.say(quality.line())
    return Reduced(reducer, reduced, quality)


def load_reducer(folder: Path) -> Reducer:
    """Load a stored reducer.

    Raises:
        ProfileError: It is incomplete, or its UMAP was made by another library version.
    """
    try:
        head = json.loads((folder / _HEAD).read_text(encoding="utf-8"))
        config = ReducerConfig.model_validate(head["config"])
        with np.load(folder / _ARRAYS, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        libraries, widths = head["libraries"], (int(head["in_width"]), int(head["out_width"]))
        known = head["format"] == _FORMAT
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise ProfileError(f"{folder} contains no readable reducer ({error}); fit it again.") from None
    if not known:
        raise ProfileError(
            f"{folder} contains a reducer of format {head['format']}, but this version reads {_FORMAT}; fit it again."
        )
    if config.method != "umap":
        return Reducer(config, *widths, arrays)
    for name, made_with in libraries.items():
        # a pickled UMAP works only with the versions that wrote it
        if made_with != version(name):
            raise ProfileError(
                f"{folder} was made with {name} {made_with}, but {version(name)} is installed; fit it again."
            )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)  # as in `fit_umap`
        import joblib

        return Reducer(config, *widths, arrays, joblib.load(folder / _UMAP))


def _check_finite(vectors: FloatArray) -> None:
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(broken):
        raise ProfileError(
            f"{len(broken)} of {len(vectors)} vectors to reduce contain NaN or infinity, the first in row {broken[0]}; "
            "encode their texts again, or correct the file that holds them."
        )


def _check_size(config: ReducerConfig, n_fit: int, in_width: int) -> None:
    if config.method == "none":
        return
    if config.n_components > in_width:
        raise ProfileError(
            f"[reducer] n_components = {config.n_components} exceeds the encoder's width {in_width}; lower it."
        )
    # UMAP's spectral initialisation needs more points than dimensions
    most = n_fit - 2 if config.method == "umap" else n_fit
    if config.n_components > most:
        raise ProfileError(
            f"[reducer] n_components = {config.n_components} is too large for {n_fit} vectors: {config.method} allows "
            f"at most {max(most, 0)}; lower it, raise fit_sample, or use method = 'none'."
        )


def _fit(vectors: FloatArray, config: ReducerConfig) -> tuple[Reducer, FloatArray]:
    in_width = vectors.shape[1]
    if config.method == "none":
        return Reducer(config, in_width, in_width, {}), vectors.astype(np.float32)
    if config.method == "pca":
        reducer = Reducer(config, in_width, config.n_components, _pca_arrays(vectors, config))
        return reducer, reducer.project(vectors)
    fitted, umap = fit_umap(vectors, config)
    return Reducer(config, in_width, config.n_components, {}, umap), fitted


def _pca_arrays(vectors: FloatArray, config: ReducerConfig) -> dict[str, FloatArray]:
    """Mean (E,) and components (P, E); whitening is included in the components."""
    from sklearn.decomposition import PCA

    pca = PCA(n_components=config.n_components, random_state=config.seed).fit(vectors)
    components = pca.components_
    if config.whiten:
        components = components / np.sqrt(np.maximum(pca.explained_variance_, 1e-12))[:, None]
    return {"mean": pca.mean_.astype(np.float32), "components": components.astype(np.float32)}


def _versions() -> dict[str, str]:
    return {name: version(name) for name in _LIBRARIES}
