"""Synthetic data of the benchmarks: a sealed bundle of a student with random weights, and histories of users."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from retort.shared.model.bundle import GOLDEN, ITEM_VECTORS, ITEMS, MODEL, export_scorer, seal_bundle
from retort.shared.model.item_index import ItemIndex
from retort.shared.model.manifest import Manifest
from retort.shared.model.scoring import Scorer

HISTORY = 50


def sealed_bundle(directory: Path, n_items: int, *, max_length: int = HISTORY, dim: int = 64) -> Path:
    """Return a bundle of SASRec with two blocks and two heads; it is built once and kept in `directory`."""
    done = directory / f"bundle-{n_items}"
    if done.is_dir():
        return next(done.iterdir())
    work = directory / f".work-{n_items}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    graph, vectors = _exported(n_items, max_length, dim)
    (work / MODEL).write_bytes(graph)
    np.save(work / ITEM_VECTORS, vectors)
    ids = [item_id(n) for n in range(n_items)]
    popularity = np.sort(np.random.default_rng(0).zipf(1.3, n_items).clip(max=10**6))[::-1]
    pq.write_table(pa.table({"item_id": ids, "popularity": popularity, "title": ids}), work / ITEMS)
    golden = _golden(export_scorer(work, n_items=n_items, max_length=max_length), ItemIndex(ids))
    (work / GOLDEN).write_bytes(orjson.dumps(golden))
    return seal_bundle(work, done, _manifest(n_items, max_length))


def item_id(n: int) -> str:
    """Return an item id of a realistic length."""
    return f"B{n:09d}"


def histories(n_users: int, n_items: int, length: int = HISTORY) -> Iterator[tuple[str, list[tuple[str, int]]]]:
    """Generate users u0, u1, … with `length` distinct items each, as (item id, time in ms)."""
    random = np.random.default_rng(1)
    for user in range(n_users):
        items = random.choice(n_items, size=length, replace=False)
        start_ms = 1_780_000_000_000
        yield f"u{user}", [(item_id(int(item)), start_ms + 60_000 * n) for n, item in enumerate(items)]


def _exported(n_items: int, max_length: int, dim: int) -> tuple[bytes, np.ndarray]:
    import torch

    from retort.offline.export.onnx import export_student, item_vectors
    from retort.offline.students import sasrec

    torch.manual_seed(0)
    student = sasrec.Model(sasrec.Config(max_length=max_length, embedding_dim=dim, n_blocks=2, n_heads=2), n_items)
    return export_student(student), item_vectors(student)


def _golden(scorer: Scorer, index: ItemIndex) -> dict[str, object]:
    history = [item_id(n) for n in range(5)]
    items, scores = scorer.top_k([index.indexes(history)], 10).row(0)
    ids = [index.id(int(item)) for item in items]
    return {"history": history, "exclude": [], "k": 10, "items": ids, "scores": scores.tolist()}


def _manifest(n_items: int, max_length: int) -> Manifest:
    return Manifest(
        name=f"bench-{n_items}",
        student="sasrec",
        max_length=max_length,
        n_items=n_items,
        created_at="2026-01-01T00:00:00Z",
        git_commit="0" * 40,
        recipe={},
        data_hash=hashlib.sha256(str(n_items).encode()).hexdigest(),
        protocol="held",
        metrics={},
    )
