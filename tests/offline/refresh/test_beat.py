"""A real beat and a real worker, as people start them: a refresh by the clock, once, and nothing when nobody is due."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import Engine

from retort.offline.local.subprocesses import Child, start_child
from retort.shared.db.migrate import upgrade
from retort.shared.db.session import open_database
from retort.shared.profiles.refreshes import read_jobs

PATIENCE_S = 120.0
TINY = ["--set", "profiles.backend=template", "--set", "data.options.users=20", "--set", "data.options.items=30"]
EVERY_2_S = str(2 / 3600)


@pytest.fixture
def start(redis_url: str, tmp_path: Path) -> Iterator[Callable[..., Child]]:
    home = {"RETORT_HOME": str(tmp_path), "DATABASE_URL": url(tmp_path), "REDIS_URL": redis_url}
    with ExitStack() as stack:

        def retort(name: str, *words: str) -> Child:
            args = [sys.executable, "-c", "from retort.offline.cli.main import main; main()", *words]
            log = tmp_path / f"{name}.log"
            return stack.enter_context(start_child(args, name, log=log, env={**os.environ, **home}))

        yield retort


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'retort.db'}"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    upgrade(url(tmp_path))
    engine = open_database(url(tmp_path))
    yield engine
    engine.dispose()


def wait(wanted: Callable[[], bool], *children: Child) -> None:
    end = time.monotonic() + PATIENCE_S
    while not wanted():
        assert time.monotonic() < end, "\n".join(child.tail() for child in children)
        time.sleep(0.2)


def test_beat_starts_a_refresh_and_a_worker_does_it_once(
    start: Callable[..., Child], engine: Engine, tmp_path: Path
) -> None:
    words = ["refresh", "schedule", "demo", "--every-hours", EVERY_2_S, "--out", str(tmp_path / "runs")]
    beat = start("beat", *words, "--rule", "min_new_events=3", *TINY)
    worker = start("worker", "refresh", "work", "--poll-s", "1")
    wait(lambda: any(job.status == "done" for job in read_jobs(engine)), beat, worker)
    # the clock goes on, and finds nobody due: neither another refresh nor the worker's end
    wait(lambda: "no user's profile is due" in worker.log.read_text(), beat, worker)
    (job,) = read_jobs(engine)
    assert (job.users_done, job.written) == (20, 20)
    assert worker.process.poll() is None
    worker.process.terminate()
    assert worker.process.wait(60) == 0


def test_without_a_recipe_beat_idles_until_sigterm(start: Callable[..., Child], engine: Engine) -> None:
    beat = start("beat", "refresh", "schedule", "none")
    wait(lambda: "no refresh is scheduled" in beat.log.read_text(), beat)
    assert beat.process.poll() is None, "a container of it would be started again and again"
    beat.process.terminate()
    assert beat.process.wait(60) == 0
    assert read_jobs(engine) == []
