"""Real workers over a real Redis: a run goes from step to step, survives killed workers, and says what went wrong."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path

import pytest
from celery import Celery
from sqlalchemy import Engine

from retort.offline.common.progress import Progress, Silent
from retort.offline.jobs import runs
from retort.offline.jobs.celery_app import make_app
from retort.offline.jobs.runs import STEP_RULES, RunStatus, StepItem
from retort.offline.jobs.tasks import run_step, send_step
from retort.offline.local.subprocesses import Child, start_child
from retort.offline.pipeline.artifact_store import ArtifactStore
from retort.offline.pipeline.dag import Pipeline, Step
from retort.shared.base.errors import StoreError
from retort.shared.db import migrate, models
from retort.shared.db.session import open_database, transaction
from tests.offline.worker_child import steps

_PATIENCE_S = 40.0
StartWorker = Callable[[str], AbstractContextManager[Child]]


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    migrate.upgrade(url)
    return url


@pytest.fixture
def engine(sqlite_url: str) -> Iterator[Engine]:
    engine = open_database(sqlite_url)
    yield engine
    engine.dispose()


@pytest.fixture
def start_worker(redis_url: str, sqlite_url: str, tmp_path: Path) -> StartWorker:
    def start(mode: str) -> AbstractContextManager[Child]:
        args = [sys.executable, "-m", "tests.offline.worker_child", redis_url, sqlite_url, mode]
        return start_child(args, f"worker {mode}", log=tmp_path / "worker.log")

    return start


def new_run(engine: Engine, tmp_path: Path) -> str:
    return runs.create_run(engine, "tiny", {"name": "tiny"}, tmp_path, tmp_path / "out", steps("plain"))


def submit(engine: Engine, redis_url: str, tmp_path: Path) -> str:
    run_id = new_run(engine, tmp_path)
    send_step(make_app(redis_url), run_id, "a", "cpu")
    return run_id


def wait_for(engine: Engine, run_id: str, wanted: Callable[[RunStatus], bool], child: Child) -> RunStatus:
    end = time.monotonic() + _PATIENCE_S
    while not wanted(run := runs.read_run(engine, run_id)):
        assert time.monotonic() < end, f"{run}\n{child.log.read_text()}"
        time.sleep(0.1)
    return run


def test_a_run_goes_through_all_its_steps(
    engine: Engine, redis_url: str, tmp_path: Path, start_worker: StartWorker
) -> None:
    run_id = submit(engine, redis_url, tmp_path)
    with start_worker("plain") as worker:
        run = wait_for(engine, run_id, lambda run: run.status == "done", worker)
    assert [(step.name, step.status, step.done, step.total) for step in run.steps] == [
        (name, "done", 2, 2) for name in "abc"
    ]
    assert run.bundle
    assert (Path(run.bundle) / "out").read_text() == "whole"


def test_a_killed_worker_loses_nothing(
    engine: Engine, redis_url: str, tmp_path: Path, start_worker: StartWorker
) -> None:
    run_id = submit(engine, redis_url, tmp_path)
    with start_worker("kill-b") as first:
        first.process.wait(_PATIENCE_S)
    assert runs.read_run(engine, run_id).step("b").status == "running"
    with start_worker("kill-b") as second:
        run = wait_for(engine, run_id, lambda run: run.status == "done", second)
    assert [step.attempts for step in run.steps] == [1, 2, 1]


@pytest.mark.parametrize(
    ("mode", "sentence"),
    [
        ("refuse-b", "b: events.csv row 3: no user_id; fill it in."),
        ("break-b", "b: ZeroDivisionError: division by zero"),
    ],
)
def test_a_failure_is_reported_and_stops_the_run(
    mode: str, sentence: str, engine: Engine, redis_url: str, tmp_path: Path, start_worker: StartWorker
) -> None:
    run_id = submit(engine, redis_url, tmp_path)
    with start_worker(mode) as worker:
        run = wait_for(engine, run_id, lambda run: run.status == "failed", worker)
    assert run.error == sentence
    assert [step.status for step in run.steps] == ["done", "failed", "pending"]


def test_a_store_that_is_down_is_waited_for_as_often_as_it_takes(engine: Engine, tmp_path: Path) -> None:
    """Attempts count workers that died; a worker that released its step did not."""

    def unavailable(pipeline: Pipeline[list[str]], work: Path) -> None:
        raise StoreError("the database does not answer.")

    def make_pipeline(run: RunStatus, progress: Progress) -> Pipeline[list[str]]:
        return Pipeline([Step("a", unavailable)], [], ArtifactStore(tmp_path / "out"), progress)

    run_id = new_run(engine, tmp_path)
    for _ in range(8):
        lease = runs.lease_step(engine, run_id, "a")
        assert lease is not None
        with pytest.raises(StoreError):
            run_step(Celery(), engine, lease, make_pipeline, lambda pipeline: tmp_path)
    step = runs.read_run(engine, run_id).step("a")
    assert (step.status, step.attempts) == ("pending", 0)


def test_a_step_whose_workers_die_ends_its_run(engine: Engine, tmp_path: Path) -> None:
    run_id = new_run(engine, tmp_path)
    for _ in range(5):
        assert runs.lease_step(engine, run_id, "a", "elsewhere:1") is not None
        let_lease_expire(engine, run_id, "a")
    assert runs.lease_step(engine, run_id, "a") is None
    run = runs.read_run(engine, run_id)
    assert run.status == "failed"
    assert run.error == "a: its worker died 5 times (last: elsewhere:1); read the log of that worker"
    assert runs.is_settled(engine, run_id, "a")


def test_only_one_live_process_holds_a_step(engine: Engine, tmp_path: Path) -> None:
    run_id = new_run(engine, tmp_path)
    assert runs.lease_step(engine, run_id, "a")
    assert runs.lease_step(engine, run_id, "a", "another:1") is None
    let_lease_expire(engine, run_id, "a")
    assert runs.lease_step(engine, run_id, "a", "another:1")


def test_a_step_of_a_dead_process_of_this_machine_is_free_at_once(engine: Engine, tmp_path: Path) -> None:
    run_id = new_run(engine, tmp_path)
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert runs.lease_step(engine, run_id, "a", f"{socket.gethostname()}:{child.pid}")
    assert runs.lease_step(engine, run_id, "a")


def test_a_task_delivered_again_has_nothing_to_do(engine: Engine, tmp_path: Path) -> None:
    run_id = new_run(engine, tmp_path)
    lease = runs.lease_step(engine, run_id, "a")
    assert lease is not None
    assert not runs.is_settled(engine, run_id, "a")
    StepItem(engine, lease, Silent()).finish()
    # done, but the next step was not sent: the copy must send it
    assert not runs.is_settled(engine, run_id, "a")
    assert runs.lease_step(engine, run_id, "b") is not None
    assert runs.is_settled(engine, run_id, "a")


def test_progress_reaches_the_database(engine: Engine, tmp_path: Path) -> None:
    run_id = new_run(engine, tmp_path)
    lease = runs.lease_step(engine, run_id, "a")
    assert lease is not None
    item = StepItem(engine, lease, Silent())
    item.update("profiles", 1, 100)
    item.update("profiles", 2, 100)
    step = runs.read_run(engine, run_id).step("a")
    assert (step.what, step.done, step.total) == ("profiles", 1, 100), "within a second only the first is written"
    item.update("profiles", 100, 100)
    assert runs.read_run(engine, run_id).step("a").done == 100


def test_a_step_that_lost_its_lease_goes_on_and_changes_nothing(engine: Engine, tmp_path: Path) -> None:
    """The lock of its directory keeps the new owner out, who then finds the work done."""
    run_id = new_run(engine, tmp_path)
    stale = runs.lease_step(engine, run_id, "a")
    assert stale is not None
    worked = []

    def slow(pipeline: Pipeline[list[str]], work: Path) -> None:
        let_lease_expire(engine, run_id, "a")
        assert runs.lease_step(engine, run_id, "a", "another:1") is not None
        pipeline.progress.update("rows", 1, 1)
        worked.append("a")

    def make_pipeline(run: RunStatus, progress: Progress) -> Pipeline[list[str]]:
        return Pipeline([Step("a", slow), Step("b", slow)], [], ArtifactStore(tmp_path / "out"), progress)

    # without a broker: sending the next step would fail
    run_step(Celery(broker="redis://127.0.0.1:1/0"), engine, stale, make_pipeline, lambda pipeline: tmp_path)
    assert worked == ["a"]
    step = runs.read_run(engine, run_id).step("a")
    assert (step.status, step.attempts, step.what) == ("running", 2, None)


def test_a_redis_that_is_down_is_reported() -> None:
    with pytest.raises(StoreError, match="REDIS_URL"):
        send_step(make_app("redis://127.0.0.1:1/0"), "run", "a", "cpu")


def let_lease_expire(engine: Engine, run_id: str, name: str) -> None:
    with transaction(engine) as session:
        row = session.get(models.Step, (run_id, name))
        assert row is not None
        assert row.heartbeat_at is not None
        row.heartbeat_at -= timedelta(seconds=STEP_RULES.lease_s + 1)
