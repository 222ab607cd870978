"""Bundles of both formats are read; anything else is rejected with one sentence."""

from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retort.offline.export.config import Precision
from retort.offline.export.precision import encode, write_vectors
from retort.offline.export.topk_graph import stored_table
from retort.shared.base.errors import BundleError
from retort.shared.model.bundle import (
    GOLDEN,
    ITEM_SCALES,
    ITEM_VECTORS,
    ITEMS,
    MODEL,
    export_scorer,
    open_bundle,
    seal_bundle,
)
from retort.shared.model.manifest import MANIFEST, Manifest
from tests.offline._rankings import assert_same_ranking
from tests.offline.export.test_topk_graph import LARGE, SMALL, graph_of, table_of

N_ITEMS = 300


def sealed(
    place: Path,
    limit_bytes: int,
    format_version: int,
    *,
    golden: bytes | None = None,
    factor: float = 1.0,
    created_at: str = "2026-01-01T00:00:00Z",
    precision: Precision = "fp32",
) -> Path:
    """A bundle of one-item histories; above the limit its graph is fed with the item vectors."""
    table = encode(table_of(N_ITEMS), precision).decoded()
    work = place / ".work"
    work.mkdir(parents=True)
    (work / MODEL).write_bytes(graph_of(table, limit_bytes))
    write_vectors(work, stored_table(table, limit_bytes), precision)
    ids = [f"i{n}" for n in range(1, N_ITEMS + 1)]
    pq.write_table(pa.table({"item_id": ids, "popularity": [1] * N_ITEMS}), work / ITEMS)
    items, scores = export_scorer(work, n_items=N_ITEMS, max_length=1).top_k([np.array([7])], 5).row(0)
    line = {"history": ["i7"], "k": 5, "items": [f"i{item}" for item in items], "scores": scores.tolist()}
    (work / GOLDEN).write_bytes(orjson.dumps(line) if golden is None else golden)
    if factor != 1.0:
        np.save(work / ITEM_VECTORS, stored_table(table * np.float32(factor), limit_bytes))
    manifest = Manifest(
        format_version=format_version,
        name="one-item",
        student="none",
        max_length=1,
        n_items=N_ITEMS,
        created_at=created_at,
        git_commit="0" * 40,
        recipe={},
        data_hash="d" * 64,
        protocol="held",
        metrics={},
    )
    return seal_bundle(work, place, manifest)


@pytest.mark.parametrize(("limit_bytes", "version"), [(SMALL, 1), (SMALL, 2), (LARGE, 2)])
def test_both_formats_answer_alike(tmp_path: Path, limit_bytes: int, version: int) -> None:
    bundle = open_bundle(sealed(tmp_path, limit_bytes, version))
    table = table_of(N_ITEMS)
    scores = table[7] @ table.T
    scores[[0, 7]] = -np.inf
    best = np.argsort(-scores, kind="stable")[:20]
    assert_same_ranking(bundle.scorer().top_k([np.array([7])], 20).row(0), (best, scores[best]))
    assert bundle.item_vectors is not None
    np.testing.assert_array_equal(bundle.item_vectors, table)


def test_a_fed_bundle_holds_its_table_once(tmp_path: Path) -> None:
    path = sealed(tmp_path, LARGE, 2)
    table_bytes = table_of(N_ITEMS).nbytes
    assert table_bytes < (path / ITEM_VECTORS).stat().st_size < 1.5 * table_bytes
    assert len((path / MODEL).read_bytes()) < 10_000


def test_a_file_that_is_cut_short_while_it_serves_does_no_harm(tmp_path: Path) -> None:
    path = sealed(tmp_path, LARGE, 2)
    scorer = open_bundle(path).scorer()
    before = scorer.top_k([np.array([7])], 5)
    (path / ITEM_VECTORS).write_bytes(b"")
    np.testing.assert_array_equal(scorer.top_k([np.array([7])], 5).items_BK, before.items_BK)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_vectors_in_fewer_bits_have_a_format_of_their_own_and_are_decoded(tmp_path: Path, precision: Precision) -> None:
    path = sealed(tmp_path, LARGE, 3, precision=precision)
    bundle = open_bundle(path)
    assert bundle.manifest.format_version == 4
    assert (path / ITEM_VECTORS).stat().st_size < 0.6 * stored_table(table_of(N_ITEMS), LARGE).nbytes
    assert bundle.item_vectors is not None
    np.testing.assert_array_equal(bundle.item_vectors, encode(table_of(N_ITEMS), precision).decoded())
    request = bundle.golden[0]
    items, scores = bundle.scorer().top_k([np.array([7])], 5).row(0)
    assert [f"i{item}" for item in items] == request.items
    np.testing.assert_array_equal(scores, np.array(request.scores, np.float32))


def test_scales_that_are_changed_before_they_are_read_are_not_used(tmp_path: Path) -> None:
    path = sealed(tmp_path, LARGE, 3, precision="int8")
    bundle = open_bundle(path)
    np.save(path / ITEM_SCALES, 2 * np.load(path / ITEM_SCALES))
    with pytest.raises(BundleError, match="does not fit the manifest"):
        bundle.scorer()


def test_another_format_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = sealed(tmp_path, SMALL, 2)
    manifest = orjson.loads((path / MANIFEST).read_bytes())
    (path / MANIFEST).write_bytes(orjson.dumps({**manifest, "format_version": 5}))
    with pytest.raises(BundleError, match=r"has bundle format 5 .* reads formats 1, 2, 3, 4; export it again"):
        open_bundle(path)


def test_vectors_that_are_changed_before_they_are_read_are_not_used(tmp_path: Path) -> None:
    path = sealed(tmp_path, LARGE, 2)
    bundle = open_bundle(path)
    raw = bytearray((path / ITEM_VECTORS).read_bytes())
    raw[-1] ^= 1
    (path / ITEM_VECTORS).write_bytes(raw)
    with pytest.raises(BundleError, match="does not fit the manifest"):
        bundle.scorer()


def test_a_bundle_without_golden_requests_is_not_sealed(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="has no request"):
        sealed(tmp_path, SMALL, 2, golden=b"\n")


def test_item_vectors_that_are_not_finite_are_not_sealed(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="holds NaN or infinity"):
        sealed(tmp_path, SMALL, 2, factor=np.nan)


@pytest.mark.parametrize(("version", "equal"), [(2, False), (3, True)])
def test_the_id_does_not_depend_on_the_time_of_sealing(tmp_path: Path, version: int, equal: bool) -> None:
    """Format 2 keeps the ids that its bundles already have."""
    first = sealed(tmp_path / "a", LARGE, version)
    second = sealed(tmp_path / "b", LARGE, version, created_at="2026-02-02T00:00:00Z")
    assert (first.name == second.name) is equal
    assert open_bundle(second).bundle_id == second.name
