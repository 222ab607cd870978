"""Shards of batch recommendations as Celery tasks on the queue `cpu` (`retort recommend --shards N --submit`).

A finished shard is a file, and a shard that is being written is locked, so a message only wakes a worker. A task that
is delivered twice finds the file, or the lock of another worker, and looks again later. Workers read all paths of the
request under the same names.
"""

import time
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from celery import Celery, Task
from celery.utils.log import get_task_logger

from retort.offline.cli.recommend import Batch, BatchRequest
from retort.offline.cli.recommend_shards import count_shards, is_taken, open_directory, shard_path, write_shard
from retort.offline.cli.run import worker_redis
from retort.offline.common.progress import Silent
from retort.offline.common.terminal import TerminalProgress
from retort.offline.jobs.celery_app import LOOK_AGAIN_S, make_app, send_task
from retort.shared.base.errors import DataError, RetortError, StoreError
from retort.shared.base.hashing import hash_json

SHARD_TASK = "offline.recommend_shard"
_QUEUE = "cpu"
_LOOK_EVERY_S = 0.5
_ERRORS = ".part-*.error"  # what a worker says of a shard that it could not write
_logger = get_task_logger(__name__)


def submit_shards(request: BatchRequest) -> str:
    """Let workers write the shards, and wait for them; after Ctrl-C they go on, and the same command waits again.

    Raises:
        DataError: The request is wrong, or a worker could not write a shard.
        StoreError: Redis is down.
    """
    if request.shards is None:
        raise DataError("--submit requires --shards, the number of files that the workers divide.")
    batch = Batch(_shared_by_workers(request))
    out, n_shards = batch.request.out, request.shards
    open_directory(out, batch.plan, n_shards)
    missing = [shard for shard in range(n_shards) if not shard_path(out, shard).exists()]
    for error in out.glob(_ERRORS):
        error.unlink(missing_ok=True)
    app = make_app(worker_redis())
    for shard in missing:
        send_task(app, SHARD_TASK, {"request": _as_json(batch.request), "plan": batch.plan, "shard": shard}, _QUEUE)
    with TerminalProgress() as progress:
        while (n_done := count_shards(out, n_shards)) < n_shards:
            progress.update("shards", n_done, n_shards)
            _raise_error_of_a_worker(out)
            time.sleep(_LOOK_EVERY_S)
    manifest = batch.bundle.manifest
    return f"{n_shards} of {n_shards} shards in {out} are finished, from {manifest.name} {batch.bundle.bundle_id}"


def register_shards(app: Celery) -> None:
    """Let an application write shards of batch recommendations."""

    @app.task(name=SHARD_TASK, bind=True, max_retries=None)  # type: ignore[untyped-decorator]
    def recommend_shard(self: Task, request: dict[str, Any], plan: dict[str, Any], shard: int) -> None:
        try:
            if _write(_from_json(request), hash_json(plan), shard):
                return
        except StoreError as error:
            _logger.warning("%s Trying again in %s s.", error, LOOK_AGAIN_S)
        raise self.retry(countdown=LOOK_AGAIN_S)


def _write(request: BatchRequest, plan_hash: str, shard: int) -> bool:
    """Write a shard; returns False where another worker is writing it. An error goes to a file beside the shards."""
    n_shards = request.shards or 1
    try:
        batch = _open(request, plan_hash)
        open_directory(request.out, batch.plan, n_shards)
        is_done = write_shard(
            request.out, batch.user_ids, shard, n_shards, lambda user_ids, path: batch.write(user_ids, path, Silent())
        )
    except StoreError:
        raise
    except RetortError as error:
        _logger.error("shard %s of %s: %s", shard, request.out, error)
        request.out.mkdir(parents=True, exist_ok=True)
        (request.out / _ERRORS.replace("*", f"{shard:05}")).write_text(f"shard {shard}: {error}")
        return True
    if all(is_taken(request.out, other) for other in range(n_shards)):
        _open.cache_clear()  # users and histories of a large job are gigabytes
    return is_done


@lru_cache(maxsize=1)
def _open(request: BatchRequest, plan_hash: str) -> Batch:
    """Open a request once for all its shards; files that have changed are another plan, and are read again."""
    return Batch(request)


def _shared_by_workers(request: BatchRequest) -> BatchRequest:
    """Return the request with absolute paths, because workers have another working directory."""
    bundle = Path(request.reference)
    return replace(
        request,
        users=request.users.absolute(),
        out=request.out.absolute(),
        reference=str(bundle.absolute()) if bundle.is_dir() else request.reference,
        histories=request.histories.absolute() if request.histories else None,
    )


def _as_json(request: BatchRequest) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in vars(request).items()}


def _from_json(value: dict[str, Any]) -> BatchRequest:
    histories = value["histories"]
    paths = {"users": Path(value["users"]), "out": Path(value["out"]), "histories": histories and Path(histories)}
    return BatchRequest(**{**value, **paths})


def _raise_error_of_a_worker(out: Path) -> None:
    for path in out.glob(_ERRORS):
        if error := path.read_text():  # empty while it is written
            raise DataError(f"a worker could not write {error}")
