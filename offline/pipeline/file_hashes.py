"""Hashes of files and directories, as parts of the names of steps.

A large file is read once: its hash is kept in `RETORT_HOME/file_hashes.json` with the file's size, inode and times.
"""

import os
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import orjson

from retort.shared.base.hashing import hash_file, hash_json
from retort.shared.base.settings import Settings

KEPT_FROM_BYTES = 16 << 20  # a smaller file is hashed in a hundredth of a second
_CACHE = "file_hashes.json"
_MAX_KEPT = 1000
_SETTLED_NS = 2_000_000_000  # a file that has just changed may change again without another time
_WORK = ("steps", "bundles", "experiments", "cold_items")
_LIVE = (".db", ".db-wal", ".db-shm", ".db-journal", ".log", ".lock", ".partial")


def hash_directory(root: Path) -> str:
    """Hash of a data directory, or of the directory of a data file: names and bytes, about two seconds for a gigabyte.

    Modification times do not count: a copied, mounted or touched directory holds the same data. Neither do the files of
    runs whose OUT is inside the data directory.
    """
    if root.is_file():
        root = root.parent
    return hash_json({str(path.relative_to(root)): hash_file_once(path) for path in _data_files(root)})


def hash_file_once(path: Path) -> str:
    """Hash of a file. An unchanged file is read once, although every unit and task hashes it."""
    stat = path.stat()
    state = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
    return _hash_state(path, state) if stat.st_size < KEPT_FROM_BYTES else _hash_large(path.absolute(), state)


@lru_cache(maxsize=4096)
def _hash_state(path: Path, state: tuple[int, ...]) -> str:
    return hash_file(path)


@lru_cache(maxsize=4096)
def _hash_large(path: Path, state: tuple[int, ...]) -> str:
    """As `_hash_state`, remembered by later processes too. `st_ctime` cannot be set, so it shows every change."""
    cache = Settings().retort_home / _CACHE
    kept = _read_cache(cache)
    if str(path) in kept and kept[str(path)][:-1] == list(state):
        return str(kept[str(path)][-1])
    digest = hash_file(path)
    if time.time_ns() - max(state[1], state[2]) > _SETTLED_NS:
        _write_cache(cache, {**kept, str(path): [*state, digest]})
    return digest


def _read_cache(cache: Path) -> dict[str, list[int | str]]:
    try:
        kept: dict[str, list[int | str]] = orjson.loads(cache.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return kept


def _write_cache(cache: Path, kept: dict[str, list[int | str]]) -> None:
    """Replace the cache; of two processes that write at once, one hash is lost and computed again."""
    newest = dict(list(kept.items())[-_MAX_KEPT:])
    temporary = cache.with_name(f"{_CACHE}.{os.getpid()}")
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(orjson.dumps(newest))
        os.replace(temporary, cache)
    except OSError:  # a home that cannot be written costs time, nothing else
        temporary.unlink(missing_ok=True)


def _data_files(root: Path) -> Iterator[Path]:
    """All files but those of runs, databases and logs. (Opening a live SQLite file here would drop its locks.)"""
    seen: set[str] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:  # a link to a folder above
            folders.clear()
            continue
        seen.add(real)
        folders.sort()  # which of two links to one folder is followed must not depend on the file system
        if "steps" in folders:
            folders[:] = [name for name in folders if name not in _WORK]
        yield from (Path(folder, name) for name in files if not name.endswith(_LIVE))
