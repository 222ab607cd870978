"""Child processes that are watched, logged, and never outlive the process that needs them."""

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
    """A running child; `log` holds what it wrote."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def check(self, situation: str) -> None:
        """Raise with the end of its log if the child is no longer there."""
        status = self.process.poll()
        if status is not None:
            raise StoreError(f"{self.name}: {situation} (status {status}): {self.tail()} Read {self.log}.")

    def tail(self) -> str:
        """The last lines that it wrote."""
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
    """Run a program beside this one. It ends with the block, and on Linux also when this process is killed.

    `user`: run as this user instead of root. `grace_s`: time between the polite signal and the impolite one.
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
            # Its own session: Ctrl-C reaches us alone, and we end the children in order.
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
    """On Linux: ask the kernel to kill the child when its parent is gone, however it went."""
    if sys.platform != "linux":
        return None
    # Loaded before the fork: between fork and exec only the call itself may happen.
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it died in between
            os._exit(1)

    return ask
