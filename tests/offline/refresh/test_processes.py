"""Real worker processes over one job: killed, added, cut off from the database; every user ends up there once."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from retort.offline.jobs.celery_app import make_app
from retort.offline.local.subprocesses import Child, start_child
from retort.offline.profiles.config import ProfilesConfig
from retort.offline.refresh.jobs import create_job
from retort.offline.refresh.messages import wake_workers
from retort.shared.db.models import Profile
from retort.shared.db.session import reading
from retort.shared.profiles.refreshes import JobStatus, read_job
from tests.offline.profiles._server import Answer, FakeServer, completion, serving
from tests.offline.refresh._factory import snapshot
from tests.postgres import Server

PATIENCE_S = 60.0
IN_FLIGHT = 2
StartWorker = Callable[..., Child]


@pytest.fixture
def model() -> Iterator[FakeServer]:
    def script(_number: int, _body: dict[str, Any]) -> Answer:
        time.sleep(0.05)
        return completion()

    with serving(script) as fake:
        yield fake


@pytest.fixture
def start_worker(database_url: str, model: FakeServer, tmp_path: Path) -> Iterator[StartWorker]:
    with ExitStack() as stack:

        def start(name: str, *more: str) -> Child:
            args = [sys.executable, "-m", "tests.offline.refresh.worker_child", database_url, model.url, *more]
            return stack.enter_context(start_child(args, name, log=tmp_path / f"{name}.log"))

        yield start


def new_job(engine: Engine, folder: Path, n_users: int, chunk_users: int) -> str:
    options = {"model": "m", "concurrency": IN_FLIGHT, "backoff_s": 0.01}
    config = ProfilesConfig(backend="openai", domain="movies", options=options, chunk_users=chunk_users)
    return create_job(engine, "test", config, snapshot(folder / "snapshot", n_users, chunk_users))


def wait(engine: Engine, job_id: str, wanted: Callable[[JobStatus], bool], *workers: Child) -> JobStatus:
    end = time.monotonic() + PATIENCE_S
    while not wanted(status := read_job(engine, job_id)):
        logs = "\n".join(f"--- {one.name}\n{one.tail()}" for one in workers)
        assert time.monotonic() < end, f"{status}\n{logs}"
        time.sleep(0.05)
    return status


def stored_users(engine: Engine) -> Counter[str]:
    with reading(engine) as session:
        return Counter(session.scalars(sa.select(Profile.user_id).filter_by(status="done")))


def test_three_workers_two_killed_one_added(
    engine: Engine, model: FakeServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    n_users = 120
    job_id = new_job(engine, tmp_path, n_users, 6)
    crew = [start_worker(f"worker-{n}") for n in range(3)]
    wait(engine, job_id, lambda job: len(job.owners) == 3, *crew)
    for victim in crew[:2]:
        victim.process.kill()
        victim.process.wait()
    crew.append(start_worker("worker-3"))
    status = wait(engine, job_id, lambda job: job.status != "running", *crew)
    assert status.status == "done"
    assert status.users_done == n_users
    assert stored_users(engine) == Counter(f"user-{n}" for n in range(n_users))
    # only what the killed two had in flight was asked a second time
    assert n_users <= len(model.bodies) <= n_users + 2 * IN_FLIGHT


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_message_wakes_a_worker_and_copies_of_it_do_no_harm(
    engine: Engine, model: FakeServer, start_worker: StartWorker, redis_url: str, tmp_path: Path
) -> None:
    worker = start_worker("celery", redis_url, "3600")
    app = make_app(redis_url)
    # it looked once at its start, found nothing, and would look again in an hour
    end = time.monotonic() + PATIENCE_S
    while "ready" not in worker.log.read_text():
        assert time.monotonic() < end, worker.tail()
        time.sleep(0.1)
    job_id = new_job(engine, tmp_path, 12, 3)
    for _ in range(5):
        assert wake_workers(app)
    status = wait(engine, job_id, lambda job: job.status == "done", worker)
    assert (status.written, len(model.bodies)) == (12, 12)
    worker.process.terminate()
    assert worker.process.wait(20) == 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_broker_that_loses_every_message_costs_no_profile(
    engine: Engine, model: FakeServer, start_worker: StartWorker, redis_url: str, tmp_path: Path
) -> None:
    worker = start_worker("celery", redis_url, "0.5")
    job_id = new_job(engine, tmp_path, 6, 3)
    wait(engine, job_id, lambda job: job.status == "done", worker)
    assert len(model.bodies) == 6


def test_a_broker_that_is_down_is_no_failure() -> None:
    assert not wake_workers(make_app("redis://127.0.0.1:1/0"))


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_database_that_goes_down_changes_nothing(
    engine: Engine,
    postgres_server: Server,
    model: FakeServer,
    start_worker: StartWorker,
    tmp_path: Path,
) -> None:
    n_users = 60
    job_id = new_job(engine, tmp_path, n_users, 6)
    worker = start_worker("worker")
    wait(engine, job_id, lambda job: job.users_done > 6, worker)
    name = engine.url.database
    engine.dispose()
    with psycopg.connect(postgres_server.dsn("postgres"), autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        time.sleep(3.0)
        assert worker.process.poll() is None, worker.tail()
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
    status = wait(engine, job_id, lambda job: job.status != "running", worker)
    assert status.status == "done"
    assert stored_users(engine) == Counter(f"user-{n}" for n in range(n_users))
    assert "is unavailable" in worker.log.read_text()
