"""Child processes: monitored, logged, and ended with the process that started them."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from retort.shared.base.errors import StoreError

_PR_SET_PDEATHSIG = 1
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
        process = subprocess.Popen(
            list(args),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            user=user,
            # Its own session: Ctrl-C reaches only this process, which ends the children in order.
            start_new_session=True,
            preexec_fn=_die_with_parent(),
        )
    try:
        yield Child(name, process, log)
    finally:
        _end(process, grace_s)


def _end(process: "subprocess.Popen[bytes]", grace_s: float) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(grace_s)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def _die_with_parent() -> Callable[[], None] | None:
    """On Linux: let the kernel kill the child when its parent ends for whatever reason."""
    if sys.platform != "linux":
        return None
    # Loaded before the fork: only the call itself is allowed between fork and exec.
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def set_death_signal() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # the parent ended in between
            os._exit(1)

    return set_death_signal
