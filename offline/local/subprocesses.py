"""Child processes: monitored, logged, and ended with the process that started them."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from retort.shared.base.early_exit import TERMINATED
from retort.shared.base.errors import StoreError
from retort.shared.base.parent_death import end_with_parent, parent_death_signal

_TAIL_LINES = 5


@dataclass(frozen=True)
class Child:
    """A running child process; `log` is the file of its output."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def check(self, situation: str) -> None:
        """Raise StoreError with the end of the log if the child has ended."""
        status = self.process.poll()
        if status is not None:
            raise StoreError(f"{self.name}: {situation} (status {status}): {self.tail()} Read {self.log}.")

    def tail(self) -> str:
        """Return the last lines of the log."""
        lines = self.log.read_text(errors="replace").strip().splitlines() if self.log.is_file() else []
        return " | ".join(lines[-_TAIL_LINES:])


@contextmanager
def start_child(
    args: Sequence[str],
    name: str,
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    user: str | None = None,
    grace_s: float = 5.0,
) -> Iterator[Child]:
    """Run a program as a child process; it ends with the block and, on Linux, also if this process is killed.

    Args:
        user: Run as this user instead of root.
        grace_s: Seconds between SIGTERM and SIGKILL.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:

        def start() -> "subprocess.Popen[bytes]":
            return subprocess.Popen(
                list(args),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                user=user,
                # Its own session: Ctrl-C reaches only this process, which ends the children in order.
                start_new_session=True,
                preexec_fn=parent_death_signal(),
            )

        # The kernel ends the child with the thread that starts it: a notebook's or a server's thread may end earlier.
        is_main = threading.current_thread() is threading.main_thread()
        process = start() if is_main else _lasting_thread().submit(start).result()
    try:
        yield Child(name, process, log)
    finally:
        end_process(process, grace_s)


@cache
def _lasting_thread() -> ThreadPoolExecutor:
    """A thread that ends with this process."""
    return ThreadPoolExecutor(1, "children")


def end_process(process: "subprocess.Popen[Any]", grace_s: float) -> None:
    """Send SIGTERM, SIGKILL after `grace_s`, and wait for the end."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(grace_s)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


@contextmanager
def process_pool(n_processes: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes of this package that end with the block, also while they work, and with this process."""
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        n_processes, mp_context=multiprocessing.get_context("spawn"), initializer=end_with_parent
    )
    try:
        yield pool
    except BaseException:
        for process in set(multiprocessing.active_children()) - others:
            process.kill()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Turn SIGTERM into SystemExit(143) within the block, so that open contexts are left and end their children.

    Nothing changes outside the main thread, where Python handles no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
