"""Batch recommendations in shards (`retort recommend --shards`): a directory of Parquet files, written by any number of
processes that share it. Finished shards are kept, so the same command resumes.
"""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from retort.shared.base.errors import DataError

_PLAN = "shards.json"


def write_shards(
    out: Path, plan: dict[str, Any], user_ids: list[str], n_shards: int, write: Callable[[list[str], Path], None]
) -> int:
    """Write the shards that no process has written or is writing; returns the number of finished ones.

    Args:
        out: Directory of the shards.
        plan: What determines the lists; a directory with another plan is refused.
        user_ids: All users; each shard holds a contiguous part of them.
        n_shards: Number of files.
        write: Writes the lists of some users to a file.

    Raises:
        DataError: The directory holds shards of another bundle, other users or histories, another k or number of
            shards.
    """
    open_directory(out, plan, n_shards)
    for shard in range(n_shards):
        write_shard(out, user_ids, shard, n_shards, write)
    return count_shards(out, n_shards)


def open_directory(out: Path, plan: dict[str, Any], n_shards: int) -> None:
    """Make the directory of the shards. Raises DataError as `write_shards`."""
    out.mkdir(parents=True, exist_ok=True)
    _check_plan(out / _PLAN, {**plan, "shards": n_shards})


def write_shard(
    out: Path, user_ids: list[str], shard: int, n_shards: int, write: Callable[[list[str], Path], None]
) -> bool:
    """Write one shard unless it is there; returns False where another process is writing it."""
    path = shard_path(out, shard)
    if path.exists():
        return True
    lock = _lock_path(path)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if not path.exists():
            write(user_ids[len(user_ids) * shard // n_shards : len(user_ids) * (shard + 1) // n_shards], path)
        lock.unlink(missing_ok=True)
    return True


def shard_path(out: Path, shard: int) -> Path:
    """Return the file of a shard."""
    return out / f"part-{shard:05}.parquet"


def count_shards(out: Path, n_shards: int) -> int:
    """Return the number of finished shards."""
    return sum(shard_path(out, shard).exists() for shard in range(n_shards))


def is_taken(out: Path, shard: int) -> bool:
    """Whether a shard is finished, or a process is writing it (or was, when it was killed)."""
    path = shard_path(out, shard)
    return path.exists() or _lock_path(path).exists()


def _lock_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _check_plan(path: Path, plan: dict[str, Any]) -> None:
    content = orjson.dumps(plan, option=orjson.OPT_SORT_KEYS)
    if not path.exists():
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        partial.write_bytes(content)
        os.replace(partial, path)
    if path.read_bytes() != content:
        raise DataError(
            f"{path.parent} holds lists of another bundle, other users or histories, another k or number of shards; "
            "name another --out."
        )
