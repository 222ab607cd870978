"""Checks of a bundle: a bundle that fails one never serves."""

import shutil
from pathlib import Path

import orjson
import pytest

from retort.serving.models.bundles import load_bundle
from retort.serving.models.model_slots import Slot
from retort.shared.base.errors import BundleError
from retort.shared.base.hashing import hash_file
from retort.shared.model.bundle import GOLDEN, ITEMS, MANIFEST, MODEL
from tests.serving._graphs import make_bundle


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
