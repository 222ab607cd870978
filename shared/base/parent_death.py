"""Child processes that end with their parent, however the parent ends: return, exception, SIGTERM or SIGKILL.

On Linux the kernel sends a signal to the child when the thread that started it ends, so children must be started by a
thread that lives as long as they are needed. On other systems a `multiprocessing` child watches a pipe to its parent.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import wait

_PR_SET_PDEATHSIG = 1


def end_with_parent(signal_number: int = signal.SIGKILL) -> None:
    """Let this `multiprocessing` child receive a signal when its parent ends. Called in the child."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    if sys.platform == "linux":
        _prctl()(_PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0)
        if os.getppid() != parent.pid:  # the parent ended before the call
            os.kill(os.getpid(), signal_number)
    else:
        threading.Thread(target=_watch, args=(parent.sentinel, signal_number), daemon=True).start()


def parent_death_signal() -> Callable[[], None] | None:
    """The `preexec_fn` with which `subprocess` starts a program that the kernel kills when this process ends.

    None on systems other than Linux.
    """
    if sys.platform != "linux":
        return None
    # Loaded before the fork: only the call itself is allowed between fork and exec.
    prctl, parent = _prctl(), os.getpid()

    def set_death_signal() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # the parent ended in between
            os._exit(1)

    return set_death_signal


def _prctl() -> Callable[..., int]:
    return ctypes.CDLL(None, use_errno=True).prctl


def _watch(sentinel: int, signal_number: int) -> None:
    wait([sentinel])
    os.kill(os.getpid(), signal_number)
