"""Batch recommendations by real Celery workers: the shards hold the lists of the command in one process."""

import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from retort.offline.cli import recommend_tasks
from retort.offline.cli.recommend import BatchRequest, recommend_users
from retort.offline.cli.recommend_shards import open_directory, shard_path
from retort.offline.cli.recommend_tasks import submit_shards
from retort.offline.local.subprocesses import start_child
from retort.shared.base.errors import DataError

USERS = [f"u{number}" for number in range(50)]
SHARDS = 5


@pytest.fixture
def worker(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in {"REDIS_URL": redis_url, "RETORT_HOME": str(tmp_path / "home"), "DATABASE_URL": ""}.items():
        monkeypatch.setenv(name, value)
    args = [sys.executable, "-m", "retort.offline.cli", "worker", "--queues", "cpu"]
    with start_child(args, "worker", log=tmp_path / "worker.log"):
        yield


@pytest.fixture
def request_of(bundle_path: Path, tmp_path: Path) -> BatchRequest:
    users, histories = tmp_path / "users.csv", tmp_path / "histories.csv"
    pl.DataFrame({"user_id": USERS}).write_csv(users)
    rows = [(user, f"i{1 + (number + place) % 30}", place) for number, user in enumerate(USERS) for place in range(3)]
    pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row").write_csv(histories)
    return BatchRequest(users, tmp_path / "lists", str(bundle_path), histories, 5, "default", SHARDS)


def read_lists(out: Path) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(shard_path(out, shard)) for shard in range(SHARDS)])


def test_workers_write_the_lists_of_the_command_and_only_what_is_missing(
    worker: None, request_of: BatchRequest, tmp_path: Path
) -> None:
    assert submit_shards(request_of).startswith("5 of 5 shards")
    alone = BatchRequest(**{**vars(request_of), "out": tmp_path / "alone.parquet", "shards": None})
    recommend_users(alone)
    assert read_lists(request_of.out).equals(pl.read_parquet(tmp_path / "alone.parquet"))

    kept, lost = shard_path(request_of.out, 0), shard_path(request_of.out, 1)
    before = kept.stat().st_mtime_ns
    lost.unlink()
    submit_shards(request_of)
    assert lost.exists()
    assert kept.stat().st_mtime_ns == before

    # the same paths with other users: an earlier reading of the file is not used
    pl.DataFrame({"user_id": USERS[::-1]}).write_csv(request_of.users)
    again = BatchRequest(**{**vars(request_of), "out": tmp_path / "again"})
    submit_shards(again)
    assert read_lists(again.out)["user_id"].unique(maintain_order=True).to_list() == USERS[::-1]


def test_an_error_of_a_worker_is_the_error_of_the_command(
    worker: None, request_of: BatchRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the worker finds another bundle's lists in the directory
    monkeypatch.setattr(
        recommend_tasks, "open_directory", lambda out, plan, n: open_directory(out, {**plan, "bundle": "another"}, n)
    )
    with pytest.raises(DataError, match=r"a worker could not write shard .*holds lists of another bundle"):
        submit_shards(request_of)


def test_workers_need_a_number_of_shards(request_of: BatchRequest) -> None:
    with pytest.raises(DataError, match="--submit requires --shards"):
        submit_shards(BatchRequest(**{**vars(request_of), "shards": None}))
