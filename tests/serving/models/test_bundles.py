"""Checks of a bundle: a bundle that fails one never serves."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retort.serving.models.bundles import load_bundle
from retort.serving.models.model_slots import Slot
from retort.shared.base.errors import BundleError
from retort.shared.base.hashing import hash_file
from retort.shared.model.bundle import GOLDEN, ITEM_VECTORS, ITEMS, MODEL
from retort.shared.model.manifest import MANIFEST
from tests.serving._graphs import graph_bytes, item_vectors, make_bundle


@pytest.fixture
def copy(bundle_path: Path, tmp_path: Path) -> Path:
    """A bundle to damage."""
    return Path(shutil.copytree(bundle_path, tmp_path / "copy"))


def reseal(path: Path, name: str) -> None:
    """Make the manifest agree with a changed file, as somebody would who means harm."""
    manifest = orjson.loads((path / MANIFEST).read_bytes())
    manifest["files"][name] = {"sha256": hash_file(path / name), "bytes": (path / name).stat().st_size}
    (path / MANIFEST).write_bytes(orjson.dumps(manifest))


def test_a_good_bundle_is_measured_and_prepared(bundle_path: Path) -> None:
    live = load_bundle(bundle_path)
    assert live.name == "tiny"
    assert 0 < live.latency_ms < 1000
    assert live.catalogue.ids[1] == "i1"
    assert live.catalogue.by_popularity[:3].tolist() == [1, 2, 3]


def test_a_graph_runs_inline_only_if_one_request_and_a_batch_are_fast(bundle_path: Path) -> None:
    """A graph in two stages is fast for one request, and reads the whole table for a batch."""
    live = load_bundle(bundle_path)
    assert live.batch_latency_ms > 0
    times = {(1.0, 5.0): True, (1.0, 30.0): False, (9.0, 5.0): False}
    for (one_ms, batch_ms), inline in times.items():
        assert replace(live, latency_ms=one_ms, batch_latency_ms=batch_ms).runs_inline is inline


@pytest.mark.parametrize("name", [MODEL, ITEMS, GOLDEN])
def test_a_flipped_bit_is_refused(copy: Path, name: str) -> None:
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(BundleError, match=name):
        load_bundle(copy)


@pytest.mark.parametrize("name", [MODEL, ITEMS, GOLDEN, MANIFEST])
def test_an_incomplete_bundle_is_refused(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(BundleError):
        load_bundle(copy)


def test_an_invalid_graph_is_refused(copy: Path) -> None:
    (copy / MODEL).write_bytes(b"not a graph")
    reseal(copy, MODEL)
    with pytest.raises(BundleError, match="not an ONNX model"):
        load_bundle(copy)


def test_another_graph_fails_the_golden_requests(copy: Path, tmp_path: Path) -> None:
    other = make_bundle(tmp_path / "other", seed=1)
    shutil.copy(other / MODEL, copy / MODEL)
    reseal(copy, MODEL)
    with pytest.raises(BundleError, match="golden request 1"):
        load_bundle(copy)


def rewrite_items(change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], str]:
    def damage(path: Path) -> str:
        pq.write_table(change(pq.read_table(path / ITEMS)), path / ITEMS)
        return ITEMS

    return damage


def rewrite(name: str, content: bytes) -> Callable[[Path], str]:
    def damage(path: Path) -> str:
        (path / name).write_bytes(content)
        return name

    return damage


def rewrite_vectors(vectors: Any) -> Callable[[Path], str]:
    def damage(path: Path) -> str:
        with (path / ITEM_VECTORS).open("wb") as file:
            np.save(file, vectors, allow_pickle=True)
        return ITEM_VECTORS

    return damage


def with_weights_that_are_nan(path: Path) -> str:
    vectors = item_vectors(60)
    vectors[17] = np.nan
    (path / MODEL).write_bytes(graph_bytes(vectors))
    return MODEL


def replace_column(name: str, values: Any) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(table.column_names.index(name), name, [pa.array(values)])


LINE = {"history": ["i1"], "exclude": [], "k": 2, "items": ["i2", "i3"], "scores": [1.0, 0.5]}
DAMAGES: dict[str, Callable[[Path], str]] = {
    "items no parquet": rewrite(ITEMS, b"PAR1 not at all PAR1"),
    "items empty": rewrite(ITEMS, b""),
    "items cut": rewrite(ITEMS, b"PAR1"),
    "no popularity": rewrite_items(lambda table: table.drop_columns(["popularity"])),
    "no item_id": rewrite_items(lambda table: table.rename_columns(["id", *table.column_names[1:]])),
    "fewer items": rewrite_items(lambda table: table.slice(1)),
    "ids are numbers": rewrite_items(replace_column("item_id", range(60))),
    "an id is missing": rewrite_items(replace_column("item_id", [None, *(f"i{n}" for n in range(59))])),
    "an id twice": rewrite_items(replace_column("item_id", ["i1", *(f"i{n}" for n in range(1, 60))])),
    "popularity is text": rewrite_items(replace_column("popularity", ["1"] * 60)),
    "popularity is missing": rewrite_items(replace_column("popularity", [None, *range(59)])),
    "popularity is negative": rewrite_items(replace_column("popularity", range(-1, 59))),
    "golden of another form": rewrite(GOLDEN, b'{"user": "u1", "items": ["i1"]}'),
    "golden no JSON": rewrite(GOLDEN, b"history: i1"),
    "golden a list": rewrite(GOLDEN, b"[1, 2]"),
    "golden no text": rewrite(GOLDEN, b"\xff\xfe\x00"),
    "golden empty": rewrite(GOLDEN, b"\n\n"),
    "golden without k": rewrite(GOLDEN, orjson.dumps(LINE | {"k": 0})),
    "golden with fewer scores": rewrite(GOLDEN, orjson.dumps(LINE | {"scores": [1.0]})),
    "golden with NaN": rewrite(GOLDEN, orjson.dumps(LINE).replace(b"0.5", b"NaN")),
    "golden with null": rewrite(GOLDEN, orjson.dumps(LINE).replace(b"0.5", b"null")),
    "vectors no array": rewrite(ITEM_VECTORS, b"none"),
    "vectors empty": rewrite(ITEM_VECTORS, b""),
    "vectors cut": rewrite(ITEM_VECTORS, b"\x93NUMPY\x01\x00"),
    "vectors an archive": rewrite(ITEM_VECTORS, b"PK\x03\x04 and no more"),
    "vectors pickled": rewrite_vectors(np.array([{}], dtype=object)),
    "vectors float64": rewrite_vectors(np.zeros((61, 8))),
    "vectors too few": rewrite_vectors(np.zeros((60, 8), np.float32)),
    "vectors one-dimensional": rewrite_vectors(np.zeros(488, np.float32)),
    "vectors with NaN": rewrite_vectors(np.full((61, 8), np.nan, np.float32)),
    "vectors with infinity": rewrite_vectors(np.full((61, 8), np.inf, np.float32)),
    "weights with NaN": with_weights_that_are_nan,
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_with_right_hashes_is_refused(copy: Path, name: str) -> None:
    reseal(copy, DAMAGES[name](copy))
    with pytest.raises(BundleError, match=re.escape(str(copy))) as caught:
        load_bundle(copy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changed", [{"n_items": 0}, {"n_items": -60}, {"max_length": 0}, {"files": []}, {"n_items": None}]
)
def test_a_manifest_of_impossible_values_is_refused(copy: Path, changed: dict[str, Any]) -> None:
    manifest = orjson.loads((copy / MANIFEST).read_bytes())
    (copy / MANIFEST).write_bytes(orjson.dumps(manifest | changed))
    with pytest.raises(BundleError, match="damaged"):
        load_bundle(copy)


def test_weights_that_no_golden_request_meets_are_checked(copy: Path) -> None:
    line = (copy / GOLDEN).read_bytes().splitlines()[0]
    shown = set(orjson.loads(line)["items"])
    vectors = item_vectors(60)
    vectors[next(n for n in range(2, 60) if f"i{n}" not in shown)] = np.nan
    (copy / MODEL).write_bytes(graph_bytes(vectors))
    (copy / GOLDEN).write_bytes(line)
    for name in (MODEL, GOLDEN):
        reseal(copy, name)
    with pytest.raises(BundleError, match="NaN or infinite; train the student again"):
        load_bundle(copy)


def test_what_nobody_foresaw_is_a_bundle_error_too(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("unforeseen")

    monkeypatch.setattr("retort.serving.catalogue.catalogue.build_hash_table", fail)
    with pytest.raises(BundleError, match=r"ZeroDivisionError: unforeseen.*publish it again"):
        load_bundle(copy)


def test_a_slow_bundle_is_refused(bundle_path: Path) -> None:
    with pytest.raises(BundleError, match="RETORT_LATENCY_GATE_MS"):
        load_bundle(bundle_path, latency_gate_ms=1e-6)


def test_another_format_version_is_refused(copy: Path) -> None:
    manifest = orjson.loads((copy / MANIFEST).read_bytes())
    (copy / MANIFEST).write_bytes(orjson.dumps(manifest | {"format_version": 99}))
    with pytest.raises(BundleError, match="99"):
        load_bundle(copy)


def test_a_refused_bundle_leaves_the_current_one_and_is_recorded_once(bundle_path: Path, copy: Path) -> None:
    slot = Slot()
    first = slot.swap(bundle_path)
    (copy / MODEL).write_bytes(b"")
    for _ in range(2):
        with pytest.raises(BundleError) as caught:
            slot.swap(copy)
        slot.refuse("s3://bundles/b", str(caught.value))
    assert slot.current is first
    assert [refusal.where for refusal in slot.refusals] == ["s3://bundles/b"]
