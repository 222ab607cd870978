"""Shards of batch recommendations are written once, resumed, and never mixed."""

import fcntl
from pathlib import Path

import pytest

from retort.offline.cli.recommend_shards import write_shards
from retort.shared.base.errors import DataError

USERS = [f"u{number}" for number in range(10)]


def write(user_ids: list[str], path: Path) -> None:
    path.write_text(" ".join(user_ids))


def test_every_user_is_in_one_shard_and_finished_shards_are_kept(tmp_path: Path) -> None:
    out = tmp_path / "lists"
    assert write_shards(out, {"bundle": "a"}, USERS, 3, write) == 3
    parts = sorted(out.glob("part-*.parquet"))
    assert " ".join(part.read_text() for part in parts).split() == USERS
    parts[1].unlink()
    written: list[Path] = []
    write_shards(
        out, {"bundle": "a"}, USERS, 3, lambda user_ids, path: (written.append(path), write(user_ids, path))[1]
    )
    assert written == [parts[1]]


def test_a_shard_that_another_process_writes_is_left_to_it(tmp_path: Path) -> None:
    with (tmp_path / ".part-00001.parquet.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert write_shards(tmp_path, {}, USERS, 3, write) == 2
    assert write_shards(tmp_path, {}, USERS, 3, write) == 3


def test_shards_of_another_bundle_are_refused(tmp_path: Path) -> None:
    write_shards(tmp_path, {"bundle": "a"}, USERS, 2, write)
    with pytest.raises(DataError, match="another bundle"):
        write_shards(tmp_path, {"bundle": "b"}, USERS, 2, write)
