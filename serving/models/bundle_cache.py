"""Copies of bundles that live elsewhere (S3 and whatever else fsspec reads), in a directory that servers may share.

A copy is used only while all its hashes hold; a damaged one is fetched again. Copies that nothing names any more go,
but for the last few: a rollback must not have to wait for a download.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from retort.shared.base.errors import BundleError
from retort.shared.model.bundle import MANIFEST, read_manifest
from retort.shared.model.sealed_files import check_file, check_hash

KEPT = 3
_WORK = ".fetch-"
# Nothing was written for so long: whoever was downloading is gone.
_LEFT_S = 6 * 3600


@dataclass(frozen=True)
class Target:
    """What an alias points to."""

    bundle_id: str
    uri: str


def fetch(target: Target, cache: Path) -> Path:
    """The bundle's local directory: the URI itself where it is a path, else a copy made through fsspec."""
    local = target.uri.removeprefix("file://")
    if "://" not in local:
        return _checked(Path(local), target)
    place = cache / target.bundle_id
    if _is_whole(place, target):
        os.utime(place)  # used now: not the first to go
    else:
        _download(target, place)
    return _checked(place, target)


def prune(cache: Path, named: Collection[str]) -> None:
    """Remove copies, but for those with a named bundle id and the last `KEPT` that were fetched or used.

    What killed downloads left goes too.
    """
    places = [place for place in cache.glob("[!.]*") if place.is_dir()] if cache.is_dir() else []
    newest_first = sorted(places, key=_used_s, reverse=True)
    for place in newest_first[KEPT:]:
        if place.name not in named:
            shutil.rmtree(place, ignore_errors=True)  # another server may be removing it too
    for work in cache.glob(f"{_WORK}*"):
        if time.time() - max(map(_used_s, (work, *work.glob("*")))) > _LEFT_S:
            shutil.rmtree(work, ignore_errors=True)


def _used_s(place: Path) -> float:
    try:
        return place.stat().st_mtime
    except FileNotFoundError:  # another server was quicker
        return 0.0


def _is_whole(place: Path, target: Target) -> bool:
    """Whether the copy is the bundle, every byte of it."""
    try:
        manifest = read_manifest(place)
        for name, entry in manifest.files.items():
            check_file(place, name, entry)
            check_hash(place, name, entry)
    except (BundleError, OSError):
        return False
    return manifest.bundle_id == target.bundle_id


def _download(target: Target, place: Path) -> None:
    import fsspec  # only where a bundle lives elsewhere

    place.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=_WORK, dir=place.parent))
    try:
        filesystem, root = fsspec.core.url_to_fs(target.uri)
        for name in filesystem.ls(root, detail=False):
            filesystem.get_file(name, str(work / Path(name).name))
        _put_in_place(work, place, target)
    except (OSError, ValueError, ImportError) as error:
        raise BundleError(
            f"{target.uri} cannot be fetched ({type(error).__name__}: {error}); check the address and its access."
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _put_in_place(work: Path, place: Path, target: Target) -> None:
    """Renames only: nobody reads half a copy, and a whole one of another worker's stays."""
    aside = work.with_name(f"{work.name}-damaged")
    try:
        if place.exists() and not _is_whole(place, target):
            with suppress(FileNotFoundError):  # another worker has dropped it
                place.replace(aside)
        work.replace(place)
    except OSError:
        # another worker was quicker with the same bundle
        if not (place / MANIFEST).is_file():
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _checked(path: Path, target: Target) -> Path:
    found = read_manifest(path).bundle_id
    if found != target.bundle_id:
        raise BundleError(
            f"{path} holds bundle {found} and the registry says {target.bundle_id}; publish the bundle again."
        )
    return path
