"""Local cache of remote bundles (S3 and everything else that fsspec reads); servers may share the directory.

A copy is used only while all its hashes match; a damaged copy is downloaded again. Copies that no alias names are
removed, except the most recent ones, so that a rollback does not wait for a download.
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
from retort.shared.model.manifest import MANIFEST, read_manifest
from retort.shared.model.sealed_files import check_file, check_hash

KEEP_NEWEST = 3
_WORK_PREFIX = ".fetch-"
# A download without a write for so long is abandoned.
_ABANDONED_S = 6 * 3600


@dataclass(frozen=True)
class BundleTarget:
    """The bundle that an alias points to."""

    bundle_id: str
    uri: str


def fetch_bundle(target: BundleTarget, cache: Path) -> Path:
    """Return the bundle's local directory: the path in the URI, or a copy in `cache` that is downloaded when needed.

    Raises:
        BundleError: The bundle cannot be downloaded, or it is not the one that the registry names.
    """
    local = target.uri.removeprefix("file://")
    if "://" not in local:
        return _check_id(Path(local), target)
    copy = cache / target.bundle_id
    if _is_intact(copy, target):
        with suppress(OSError):  # the directory may be read-only
            os.utime(copy)  # marks it as used, so that it is pruned later
    else:
        _download(target, copy)
    return _check_id(copy, target)


def prune_cache(cache: Path, named: Collection[str]) -> None:
    """Remove the remains of killed downloads, and all copies but the last `KEEP_NEWEST` used.

    Args:
        named: Bundle ids whose copies are always kept.
    """
    copies = [copy for copy in cache.glob("[!.]*") if copy.is_dir()] if cache.is_dir() else []
    newest_first = sorted(copies, key=_last_used_s, reverse=True)
    for copy in newest_first[KEEP_NEWEST:]:
        if copy.name not in named:
            shutil.rmtree(copy, ignore_errors=True)  # another server may remove it at the same time
    for work in cache.glob(f"{_WORK_PREFIX}*"):
        if time.time() - max(map(_last_used_s, (work, *work.glob("*")))) > _ABANDONED_S:
            shutil.rmtree(work, ignore_errors=True)


def _last_used_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another server has removed it
        return 0.0


def _is_intact(copy: Path, target: BundleTarget) -> bool:
    """Return whether all hashes of the copy match."""
    try:
        manifest = read_manifest(copy)
        for name, entry in manifest.files.items():
            check_file(copy, name, entry)
            check_hash(copy, name, entry)
    except (BundleError, OSError):
        return False
    return manifest.bundle_id == target.bundle_id


def _download(target: BundleTarget, copy: Path) -> None:
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=_WORK_PREFIX, dir=copy.parent))
    except OSError as error:
        raise BundleError(
            f"{copy.parent} cannot be written ({error.strerror}); check RETORT_HOME and the space on its disk."
        ) from error
    try:
        import fsspec  # only remote bundles require it

        filesystem, root = fsspec.core.url_to_fs(target.uri)
        for name in filesystem.ls(root, detail=False):
            filesystem.get_file(name, str(work / Path(name).name))
        _install(work, copy, target)
    except BundleError:
        raise
    except Exception as error:  # errors of storage clients have no common base but Exception
        raise BundleError(
            f"{target.uri} cannot be downloaded ({type(error).__name__}: {error}); check the address and access."
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _install(work: Path, copy: Path, target: BundleTarget) -> None:
    """Rename the download into the cache: no partial copy is ever read, and an intact copy of another worker stays."""
    damaged = work.with_name(f"{work.name}-damaged")
    try:
        if copy.exists() and not _is_intact(copy, target):
            with suppress(FileNotFoundError):  # another worker has removed it
                copy.replace(damaged)
        work.replace(copy)
    except OSError:
        # another worker has installed the same bundle
        if not (copy / MANIFEST).is_file():
            raise
    finally:
        shutil.rmtree(damaged, ignore_errors=True)


def _check_id(path: Path, target: BundleTarget) -> Path:
    found = read_manifest(path).bundle_id
    if found != target.bundle_id:
        raise BundleError(
            f"{path} holds bundle {found}, but the registry names {target.bundle_id}; publish the bundle again."
        )
    return path
