"""Exit on a signal while a program still imports its modules: one line and a status, no traceback of imports.

Importing takes up to a second, and nothing is open by then, so the process ends at once. This module imports only what
Python has loaded at its own start, so that a program imports it first.
"""

import os
import signal
from collections.abc import Iterable
from types import FrameType

# Exit statuses, as shells report the signals.
INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM


class EarlyExit:
    """Ends the process on a signal within the block. A signal that is ignored stays ignored.

    Args:
        program: Name of the program, which begins the line.
        remark: End of the line.
        signals: The signals; others keep their handlers.
    """

    def __init__(
        self, program: str, remark: str = ".", signals: Iterable[int] = (signal.SIGINT, signal.SIGTERM)
    ) -> None:
        self._program, self._remark, self._signals = program, remark, signals

    def __enter__(self) -> None:
        self._before = {number: signal.getsignal(number) for number in self._signals}
        for number, handler in self._before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, self._end)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _end(self, number: int, frame: FrameType | None) -> None:
        os.write(2, exit_line(self._program, 128 + number, self._remark).encode())
        os._exit(128 + number)


def exit_line(program: str, status: int, remark: str = ".") -> str:
    """The line that a program writes when a signal ends it with `status`."""
    return f"{program}: {'interrupted' if status == INTERRUPTED else 'terminated'}{remark}\n"
