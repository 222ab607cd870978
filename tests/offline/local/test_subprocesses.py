"""Child processes end with their parent, whether it returns, fails, or is ended by a signal."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import pytest

from retort.offline.local.subprocesses import exit_on_sigterm, process_pool, start_child
from retort.shared.base.early_exit import TERMINATED

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")

# Prints the ids of all children when they work, and then works without end.
_POOL = """
import os, time
from retort.offline.local.subprocesses import exit_on_sigterm, process_pool

def process_id(_):
    time.sleep(0.05)
    return os.getpid()

if __name__ == "__main__":
    with exit_on_sigterm(), process_pool(2) as pool:
        ids = set()
        while len(ids) < 2:
            ids.update(pool.map(process_id, range(2)))
        print(*ids, flush=True)
        list(pool.map(time.sleep, [600, 600]))
"""
_PROGRAM = """
import os, sys, time
from pathlib import Path
from retort.offline.local.subprocesses import exit_on_sigterm, start_child

with exit_on_sigterm(), start_child(["sleep", "600"], "sleep", log=Path(sys.argv[1])) as child:
    print(child.process.pid, flush=True)
    time.sleep(600)
"""


def are_gone(ids: Iterable[int], within_s: float = 5.0) -> bool:
    """Whether all processes have ended; a zombie that nobody has waited for has."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if not any(_runs(pid) for pid in ids):
            return True
        time.sleep(0.02)
    return False


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize(
    "kill", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP, signal.SIGQUIT], ids=lambda kill: kill.name
)
@pytest.mark.parametrize("program", [_POOL, _PROGRAM], ids=["pool", "program"])
def test_working_children_end_with_a_parent_that_is_ended_by_a_signal(
    program: str, kill: signal.Signals, tmp_path: Path
) -> None:
    file = tmp_path / "parent.py"
    file.write_text(program, encoding="utf-8")
    with subprocess.Popen([sys.executable, file, tmp_path / "log"], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        ids = [int(word) for word in parent.stdout.readline().split()]
        assert ids
        parent.send_signal(kill)
        status = parent.wait(10)
    assert are_gone(ids)
    assert status == (TERMINATED if kill == signal.SIGTERM else -kill)


def test_a_pool_ends_its_working_processes_when_the_block_fails() -> None:
    ids: list[int] = []

    def interrupted() -> None:
        with process_pool(1) as pool:
            ids.extend(pool.map(_process_id, range(1)))
            pool.submit(time.sleep, 600)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert ids
    assert are_gone(ids)


def test_a_pool_finishes_its_work_when_the_block_ends() -> None:
    with process_pool(1) as pool:
        future = pool.submit(abs, -3)
    assert future.result() == 3
    assert not multiprocessing.active_children()


def test_sigterm_leaves_open_contexts_and_the_former_handler_returns() -> None:
    before = signal.getsignal(signal.SIGTERM)
    left: list[str] = []

    def terminated() -> None:
        with exit_on_sigterm():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(5)
            finally:
                left.append("closed")

    with pytest.raises(SystemExit) as ended:
        terminated()
    assert (ended.value.code, left) == (143, ["closed"])
    assert signal.getsignal(signal.SIGTERM) == before


def _process_id(_: int) -> int:
    return os.getpid()


def test_a_child_outlives_the_thread_that_starts_it(tmp_path: Path) -> None:
    """A notebook's or a server's thread may end; the child belongs to the process."""
    children = ExitStack()
    started: list[int] = []

    def start() -> None:
        child = children.enter_context(start_child(["sleep", "600"], "sleep", log=tmp_path / "log"))
        started.append(child.process.pid)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    time.sleep(0.2)
    assert _runs(started[0])
    children.close()
    assert are_gone(started)
