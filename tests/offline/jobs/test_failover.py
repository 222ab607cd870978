"""A Celery worker whose Redis is demoted, with its connections left open, goes on with the new primary."""

import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from celery import Celery

from retort.offline.jobs.celery_app import make_app, run_worker, send_task
from retort.shared.base.errors import StoreError
from tests.faults._redis import HurtableRedis, Proxy

REPOSITORY = Path(__file__).parents[3]
_WORKER = """
import sys, time
from pathlib import Path
from retort.offline.jobs.celery_app import make_app, run_worker
app = make_app(sys.argv[1])
@app.task(name="mark")
def mark(name, seconds=0.0):
    Path(sys.argv[2], f"{name} begun").touch()
    time.sleep(seconds)
    Path(sys.argv[2], name).touch()
run_worker(app, ["cpu"])
"""


def wait_for(path: Path, within_s: float = 60) -> None:
    until = time.monotonic() + within_s
    while not path.exists():
        assert time.monotonic() < until, f"{path.name} was not done"
        time.sleep(0.05)


@pytest.mark.parametrize("busy", [False, True], ids=["a worker that waits", "a worker at work"])
def test_a_worker_goes_on_after_a_failover(busy: bool, tmp_path: Path) -> None:
    old, new = HurtableRedis(tmp_path), HurtableRedis(tmp_path)
    for server in (old, new):
        server.start()
    address = Proxy(old.port)
    with (tmp_path / "worker.log").open("w") as log:
        worker = subprocess.Popen(
            [sys.executable, "-c", _WORKER, address.url, str(tmp_path)], cwd=REPOSITORY, stdout=log, stderr=log
        )
    try:
        app = make_app(address.url)
        send_task(app, "mark", {"name": "before", "seconds": 1.0 if busy else 0.0}, "cpu")
        wait_for(tmp_path / ("before begun" if busy else "before"))
        with old.client() as client:
            client.replicaof("127.0.0.1", str(new.port))
        address.dial(new.port)
        send_task(app, "mark", {"name": "after"}, "cpu")
        wait_for(tmp_path / "after", 30)
        assert worker.poll() is None
    finally:
        worker.terminate()
        worker.wait(20)
        address.close()
        for server in (old, new):
            server.kill()


def test_a_worker_that_ends_by_an_error_is_an_error() -> None:
    ended = SimpleNamespace(start=lambda: None, exitcode=1)
    app = cast(Celery, SimpleNamespace(Worker=lambda **_: ended))
    with pytest.raises(StoreError, match="see the log above"):
        run_worker(app, ["cpu"])
    stopped: Any = SimpleNamespace(start=lambda: None, exitcode=0)
    run_worker(cast(Celery, SimpleNamespace(Worker=lambda **_: stopped)), ["cpu"])
