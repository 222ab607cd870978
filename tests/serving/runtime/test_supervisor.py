"""Supervisor of workers: a slow start is waited for, a hang is not."""

from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from retort.serving.runtime import workers
from retort.serving.runtime.workers import HUNG_S, START_S, Workers


class FakeWorker:
    """A worker process that answers pings when it is told to."""

    def __init__(self, *_: object) -> None:
        self.parent_conn, self.child_conn = Pipe()
        self.process = self
        self.pid = id(self)
        self.alive, self.exitcode, self.killed = True, None, False

    def start(self) -> None:
        pass

    def is_alive(self) -> bool:
        return self.alive

    def kill(self) -> None:
        self.alive, self.killed = False, True

    def join(self) -> None:
        pass

    def answer(self) -> None:
        while self.child_conn.poll(0):
            self.child_conn.recv()
            self.child_conn.send(True)


class Supervised:
    """A supervisor of one fake worker, and its clock."""

    def __init__(self, metrics_dir: Path) -> None:
        self.now_s = 1000.0
        config = uvicorn.Config("unused:app", workers=1)
        self.supervisor = Workers(config, [], metrics_dir, clock=lambda: self.now_s)
        self.supervisor.init_processes()

    @property
    def worker(self) -> Any:
        return self.supervisor.processes[0]

    def after(self, seconds: float) -> Any:
        self.now_s += seconds
        self.supervisor.keep_subprocess_alive()
        return self.worker


@pytest.fixture
def supervised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Supervised:
    monkeypatch.setattr("uvicorn.supervisors.multiprocess.Process", FakeWorker)
    monkeypatch.setattr(workers, "Process", FakeWorker)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    return Supervised(tmp_path)


def test_a_worker_that_starts_slowly_is_kept(supervised: Supervised) -> None:
    first = supervised.worker
    for _ in range(10):
        assert supervised.after(START_S / 12) is first
    first.answer()
    assert supervised.after(START_S) is first, "it has answered"


def test_a_worker_that_never_starts_is_replaced(supervised: Supervised) -> None:
    first = supervised.after(0)
    second = supervised.after(START_S + 1)
    assert second is not first
    assert first.killed
    assert supervised.after(START_S / 2) is second, "its time starts anew"


def test_a_worker_that_hangs_is_replaced(supervised: Supervised) -> None:
    first = supervised.after(0)
    first.answer()
    supervised.after(1)
    assert supervised.after(HUNG_S / 2) is first
    assert supervised.after(HUNG_S) is not first


def test_a_dead_worker_is_replaced_at_once(supervised: Supervised) -> None:
    first = supervised.after(0)
    first.alive, first.exitcode = False, -9
    assert supervised.after(0.5) is not first


def test_a_worker_whose_pipe_is_broken_is_replaced(supervised: Supervised) -> None:
    first = supervised.after(0)
    first.child_conn.close()
    assert supervised.after(0.5) is not first


def test_a_failed_start_stops_the_server(supervised: Supervised) -> None:
    first = supervised.after(0)
    first.alive, first.exitcode = False, 3
    assert supervised.after(0.5) is first
    assert supervised.supervisor.should_exit.is_set()
