"""Sealed bundle: the directory through which offline delivers a student to serving.

    manifest.json      format, hashes of all other files, configuration, metrics, origin
    model.onnx         the graph (`shared/model/scoring.py` documents its inputs and outputs)
    items.parquet      row i is item_index i + 1: item_id, popularity (train events), title, attributes; where the
                       recipe has [knowledge]: knowledge (text), knowledge_source, knowledge_at (ISO 8601)
    item_vectors.npy   float32 (P, D), the student's item table: row 0 is PAD, rows after n_items are zeros; input of
                       a graph of format 2; in format 4 float16 or int8                                   [optional]
    item_scales.npy    float32 (P, 1): value of one step of each int8 row of the item vectors             [optional]
    users_test.parquet user (a hash), rank: the test result of each user, for the promotion gate          [optional]
    item_map.npy       uint16 (n_items, 2): a place of each item in two dimensions, for people                [optional]
    user_map.npz       users (U,), a hash each, and places (U, 2) of their profiles on the map, for people    [optional]
    item_trends.npz    counts (n_items, S) of train events in equal spans of time, for people                 [optional]
    golden.jsonl       requests with the responses of the graph when it was sealed
    README.md          the model card: what the student is and how it was measured

A bundle never changes; its id is the hash of its manifest, which contains the hashes of all other files. Since format 3
the time of sealing is not part of the hash, so that equal runs seal bundles of equal ids. Format 4 is format 3 with an
item table in fewer bits; only such bundles have it. Nothing in a bundle is executable, and nothing is pickled.
"""

import os
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from retort.shared.base.errors import BundleError
from retort.shared.base.hashing import hash_file
from retort.shared.base.schema import ITEM_ID, POPULARITY
from retort.shared.model.bundle_files import (
    GOLDEN,
    ITEM_MAP,
    ITEM_SCALES,
    ITEM_VECTORS,
    ITEMS,
    TRENDS,
    GoldenRequest,
    Trends,
    check_finite,
    parse_map,
    parse_trends,
    read_golden,
    read_items,
    read_stored_vectors,
    read_vectors,
)
from retort.shared.model.item_index import ItemIndex
from retort.shared.model.manifest import MANIFEST, REDUCED_FORMAT, Manifest, read_manifest, recommends_again
from retort.shared.model.scoring import Scorer
from retort.shared.model.sealed_files import FileEntry, check_file, check_hash, matches_file, read_verified
from retort.shared.model.sequences import IntArray
from retort.shared.model.user_map import USER_MAP, UserMap, parse_user_map

__all__ = [
    "CARD",
    "GOLDEN",
    "ITEMS",
    "ITEM_SCALES",
    "ITEM_VECTORS",
    "MODEL",
    "USERS_TEST",
    "Bundle",
    "GoldenRequest",
    "export_scorer",
    "open_bundle",
    "read_vectors",
    "seal_bundle",
]

MODEL = "model.onnx"
USERS_TEST = "users_test.parquet"
CARD = "README.md"
_REQUIRED = (MODEL, ITEMS, GOLDEN)


@dataclass(frozen=True)
class Bundle:
    """A verified bundle, read from disk by `open_bundle`."""

    path: Path
    manifest: Manifest
    graph: bytes
    items: pa.Table
    golden: tuple[GoldenRequest, ...]

    @property
    def bundle_id(self) -> str:
        return self.manifest.bundle_id

    @cached_property
    def hides_seen(self) -> bool:
        """Whether items of the history are hidden, as they were in the test."""
        return not recommends_again(self.manifest.metrics)

    @cached_property
    def last_items(self) -> int | None:
        """Number of newest items of a history that the student reads, as in the test; None: all that fit."""
        return self.manifest.last_items

    def newest(self, history: IntArray) -> IntArray:
        """Return the part of a history that the student reads; all of it is hidden where seen items are."""
        return history if self.last_items is None else history[-self.last_items :]

    @cached_property
    def item_index(self) -> ItemIndex:
        return ItemIndex(self.items.column(ITEM_ID).to_pylist())

    @cached_property
    def popularity(self) -> NDArray[np.int64]:
        """Train events of each item, (n_items + 1,), 0 at PAD."""
        counts = np.array(self.items.column(POPULARITY).to_pylist(), dtype=np.int64)  # `to_numpy` imports pandas
        return np.concatenate([[0], counts])

    @cached_property
    def item_vectors(self) -> NDArray[np.float32] | None:
        """The student's item table (n_items + 1, D); None if the student has none."""
        stored_PD = self._stored_vectors
        return None if stored_PD is None else stored_PD[: self.manifest.n_items + 1]

    @cached_property
    def _stored_vectors(self) -> NDArray[np.float32] | None:
        """(P, D), read into memory, so that a file that changes while it is served does no harm."""
        entry = self.manifest.files.get(ITEM_VECTORS)
        if entry is None:
            return None
        stored = read_stored_vectors(self.path)
        if (
            stored is None
            or len(stored.values) < self.manifest.n_items + 1
            or not matches_file(stored.values, self.path / ITEM_VECTORS, entry)
            or not self._matches_scales(stored.scales)
        ):
            raise BundleError(f"{self.path}: {ITEM_VECTORS} does not fit the manifest; publish the bundle again.")
        vectors = stored.decoded()
        check_finite(self.path, vectors)
        return vectors

    def _matches_scales(self, scales: NDArray[np.float32] | None) -> bool:
        entry = self.manifest.files.get(ITEM_SCALES)
        if scales is None or entry is None:
            return scales is None
        return matches_file(scales, self.path / ITEM_SCALES, entry)

    @cached_property
    def item_map(self) -> NDArray[np.uint16] | None:
        """Place of each item, (n_items, 2); None in bundles without a map."""
        entry = self.manifest.files.get(ITEM_MAP)
        if entry is None:
            return None
        return parse_map(self.path, read_verified(self.path, ITEM_MAP, entry), self.manifest.n_items)

    @cached_property
    def user_map(self) -> UserMap | None:
        """Places of users by profile; None in bundles without them."""
        entry = self.manifest.files.get(USER_MAP)
        return None if entry is None else parse_user_map(self.path, read_verified(self.path, USER_MAP, entry))

    @cached_property
    def trends(self) -> Trends | None:
        """Train events of each item over time; None in bundles without them."""
        entry = self.manifest.files.get(TRENDS)
        if entry is None:
            return None
        return parse_trends(self.path, read_verified(self.path, TRENDS, entry), self.manifest.n_items)

    def scorer(self, threads: int = 1) -> Scorer:
        """Open a new session over the verified graph; it shares the item vectors with this bundle."""
        return Scorer(
            self.graph,
            n_items=self.manifest.n_items,
            max_length=self.manifest.max_length,
            threads=threads,
            table=None if self.manifest.format_version == 1 else self._stored_vectors,
        )


def export_scorer(folder: Path, *, n_items: int, max_length: int) -> Scorer:
    """Open the scorer of an export that is not sealed yet."""
    return Scorer((folder / MODEL).read_bytes(), n_items=n_items, max_length=max_length, table=read_vectors(folder))


def seal_bundle(work: Path, target_dir: Path, manifest: Manifest) -> Path:
    """Hash the files in `work`, write the manifest, and move the directory to `target_dir/<bundle_id>`.

    The move is one rename, so a reader sees everything or nothing. Sealing equal content twice gives one directory.

    Raises:
        BundleError: A required file is missing, there is no golden request, or an item vector is not finite.
    """
    missing = [name for name in _REQUIRED if not (work / name).is_file()]
    if missing:
        raise BundleError(f"{work} cannot be sealed: {', '.join(missing)} is missing; run the export step again.")
    if not (work / GOLDEN).read_bytes().strip():
        raise BundleError(
            f"{work} cannot be sealed: {GOLDEN} has no request, so serving could not verify the graph; give the split "
            "at least one test case and run the export step again."
        )
    stored = read_stored_vectors(work)
    if stored is not None:
        check_finite(work, stored.decoded())
        if stored.values.dtype != np.float32:
            manifest = manifest.model_copy(update={"format_version": REDUCED_FORMAT})
    files = {
        path.name: FileEntry(sha256=hash_file(path), bytes=path.stat().st_size)
        for path in sorted(work.iterdir())
        if path.is_file() and path.name != MANIFEST
    }
    sealed = manifest.model_copy(update={"files": files})
    (work / MANIFEST).write_bytes(orjson.dumps(sealed.model_dump(mode="json"), option=orjson.OPT_INDENT_2))
    target = target_dir / sealed.bundle_id
    if target.exists():
        shutil.rmtree(work)
        return target
    target_dir.mkdir(parents=True, exist_ok=True)
    os.replace(work, target)
    return target


def open_bundle(path: Path) -> Bundle:
    """Read and verify a bundle: every file in the manifest must exist and have its hash.

    Raises:
        BundleError: The bundle is damaged, incomplete or of an unknown format.
    """
    try:
        return _open_bundle(path)
    except OSError as error:
        raise BundleError(
            f"{path} cannot be read ({error.strerror or error}); check the directory and its permissions."
        ) from error


def _open_bundle(path: Path) -> Bundle:
    manifest = read_manifest(path)
    for required in _REQUIRED:
        if required not in manifest.files:
            raise BundleError(
                f"{path}: the manifest does not name {required}; the bundle is damaged, publish it again."
            )
    for name, entry in manifest.files.items():
        check_file(path, name, entry)
        if name not in _REQUIRED:
            check_hash(path, name, entry)
    # the hashed bytes are the bytes that are used
    graph, table, lines = (read_verified(path, name, manifest.files[name]) for name in _REQUIRED)
    items = read_items(path, table, manifest.n_items)
    golden = read_golden(path, lines)
    return Bundle(path=path, manifest=manifest, graph=graph, items=items, golden=golden)
