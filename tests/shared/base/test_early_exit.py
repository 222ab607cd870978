"""A signal while a program imports its modules: one line, a status and no traceback."""

import signal
import subprocess
import sys

import pytest

# The signal arrives when the program imports its main module, as if the user had pressed Ctrl-C then.
_SIGNAL_AT_IMPORT = """
import os, runpy, signal, sys
class Interruption:
    def find_spec(self, name, path=None, target=None):
        if name == "{package}.main":
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Interruption())
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("{package}", run_name="__main__")
"""


def run(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("package", "number", "status", "line"),
    [
        ("retort.offline.cli", signal.SIGINT, 130, "retort: interrupted; no work had begun.\n"),
        ("retort.offline.cli", signal.SIGTERM, 143, "retort: terminated; no work had begun.\n"),
        ("retort.serving", signal.SIGINT, 130, "retort-serve: interrupted.\n"),
        ("retort.serving", signal.SIGTERM, -signal.SIGTERM, ""),
    ],
)
def test_a_program_that_still_imports_ends_at_once(package: str, number: int, status: int, line: str) -> None:
    ended = run(_SIGNAL_AT_IMPORT.format(package=package, number=int(number)))
    assert (ended.returncode, ended.stderr) == (status, line)


def test_an_ignored_signal_stays_ignored_and_handlers_return() -> None:
    ended = run(
        "import os, signal\n"
        "from retort.shared.base.early_exit import EarlyExit\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "before = signal.getsignal(signal.SIGTERM)\n"
        "with EarlyExit('program'):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    assert signal.getsignal(signal.SIGTERM) is not before\n"
        "assert signal.getsignal(signal.SIGTERM) is before\n"
        "print('alive')\n"
    )
    assert (ended.returncode, ended.stdout) == (0, "alive\n")
