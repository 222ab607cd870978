"""Remote bundles are downloaded once, completely, and removed when unused."""

import os
import shutil
import time
from pathlib import Path

import fsspec
import pytest

from retort.serving.models.bundle_cache import BundleTarget, fetch_bundle, prune_cache
from retort.shared.base.errors import BundleError
from retort.shared.model.bundle import MODEL, open_bundle
from retort.shared.model.manifest import MANIFEST, read_manifest


def test_a_remote_bundle_is_downloaded_once_and_checked(bundle_path: Path, tmp_path: Path) -> None:
    path = bundle_path
    store = fsspec.filesystem("memory")
    store.put(str(path), "/bundles/one", recursive=True)
    target = BundleTarget(path.name, "memory://bundles/one")
    local = fetch_bundle(target, tmp_path / "cache")
    assert read_manifest(local).bundle_id == path.name
    store.rm("/bundles/one", recursive=True)
    assert fetch_bundle(target, tmp_path / "cache") == local
    with pytest.raises(BundleError, match="cannot be downloaded"):
        fetch_bundle(BundleTarget("0" * 16, "memory://bundles/none"), tmp_path / "cache")
    with pytest.raises(BundleError, match="publish the bundle again"):
        fetch_bundle(BundleTarget("0" * 16, str(path)), tmp_path / "cache")


def test_two_workers_may_download_a_bundle_at_once(
    bundle_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bundle_path
    store = fsspec.filesystem("memory")
    store.put(str(path), "/bundles/race", recursive=True)
    place, copy = tmp_path / "cache" / path.name, type(store).get_file

    def slower(*arguments: object, **named: object) -> None:
        copy(*arguments, **named)
        if not place.exists():
            shutil.copytree(path, place)  # the other worker is done first

    monkeypatch.setattr(type(store), "get_file", slower)
    assert fetch_bundle(BundleTarget(path.name, "memory://bundles/race"), tmp_path / "cache") == place
    assert [one.name for one in place.parent.iterdir()] == [place.name], "nothing is left over"


@pytest.mark.parametrize("name", [MODEL, MANIFEST])
@pytest.mark.parametrize("cut", [True, False])
def test_a_damaged_copy_is_downloaded_again(bundle_path: Path, tmp_path: Path, name: str, cut: bool) -> None:
    store, cache = fsspec.filesystem("memory"), tmp_path / "cache"
    store.put(str(bundle_path), "/bundles/damaged", recursive=True)
    target = BundleTarget(bundle_path.name, "memory://bundles/damaged")
    file = fetch_bundle(target, cache) / name
    content = file.read_bytes()
    file.write_bytes(content[:-9] if cut else content[:50] + bytes([content[50] ^ 1]) + content[51:])
    assert open_bundle(fetch_bundle(target, cache)).bundle_id == target.bundle_id
    assert [one.name for one in cache.iterdir()] == [target.bundle_id], "nothing is left over"
    file.unlink()
    store.rm("/bundles/damaged", recursive=True)
    with pytest.raises(BundleError, match="cannot be downloaded"):
        fetch_bundle(target, cache)


def test_a_bundle_damaged_at_its_source_is_downloaded_each_time(bundle_path: Path, tmp_path: Path) -> None:
    store, cache = fsspec.filesystem("memory"), tmp_path / "cache"
    store.put(str(bundle_path), "/bundles/bad", recursive=True)
    store.pipe("/bundles/bad/" + MODEL, b"cut")
    target = BundleTarget(bundle_path.name, "memory://bundles/bad")
    with pytest.raises(BundleError, match="hash"):
        open_bundle(fetch_bundle(target, cache))
    store.put(str(bundle_path / MODEL), "/bundles/bad/" + MODEL)
    assert open_bundle(fetch_bundle(target, cache)).bundle_id == target.bundle_id


def test_pruning_keeps_recent_and_named_copies(tmp_path: Path) -> None:
    prune_cache(tmp_path / "none", set())
    for number in range(6):
        (tmp_path / f"b{number}").mkdir()
        os.utime(tmp_path / f"b{number}", (number, number))
    prune_cache(tmp_path, {"b1"})
    assert {place.name for place in tmp_path.iterdir()} == {"b1", "b3", "b4", "b5"}


def test_pruning_removes_killed_downloads_and_keeps_running_ones(tmp_path: Path) -> None:
    hours_ago_s = time.time() - 7 * 3600
    for name in (".fetch-killed", ".fetch-killed-damaged", ".fetch-long", ".fetch-now"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.onnx").write_bytes(b"half")
    for name in (".fetch-killed", ".fetch-killed-damaged", ".fetch-long"):
        os.utime(tmp_path / name / "model.onnx", (hours_ago_s, hours_ago_s))
        os.utime(tmp_path / name, (hours_ago_s, hours_ago_s))
    (tmp_path / ".fetch-long" / "model.onnx").write_bytes(b"more of it")
    prune_cache(tmp_path, set())
    assert {place.name for place in tmp_path.iterdir()} == {".fetch-long", ".fetch-now"}
