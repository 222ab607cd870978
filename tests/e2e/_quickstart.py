"""`retort quickstart` as a child process that serves: started, requested over HTTP, ended as by Ctrl-C."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

_REPOSITORY = Path(__file__).parents[2]


class Quickstart:
    """A running command: its output so far, and its address once it serves."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(iter(self.process.stdout.readline, ""))

    @property
    def output(self) -> str:
        """What it has printed."""
        return "".join(self.lines)

    def wait_for(self, text: str, timeout_s: float) -> None:
        """Wait until it has printed a text.

        Raises:
            AssertionError: It ended or took too long.
        """
        end = time.monotonic() + timeout_s
        while text not in self.output:
            ended = self.process.poll() is not None and not self._reader.is_alive()
            assert not ended or text in self.output, f"it ended without {text!r}:\n{self.output}"
            assert time.monotonic() < end, f"{text!r} did not appear within {timeout_s:g} s:\n{self.output}"
            time.sleep(0.1)

    @property
    def url(self) -> str:
        """Address of the API."""
        found = re.search(r"^API: (http://\S+)", self.output, re.MULTILINE)
        assert found, self.output
        return found[1]

    def recommend(self, user_id: str, k: int = 10) -> dict[str, object]:
        """The API's answer for a user."""
        answer: dict[str, object] = httpx.get(
            f"{self.url}/recommend", params={"user_id": user_id, "k": k}, timeout=30
        ).json()
        return answer

    def interrupt(self, timeout_s: float = 30) -> int:
        """Send Ctrl-C and return the exit status."""
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(timeout_s)
        self._reader.join(timeout_s)
        return status


@contextmanager
def quickstart(home: Path, arguments: Sequence[str]) -> Iterator[Quickstart]:
    """Run `retort quickstart` in a directory, with its state there; what still runs at the end is killed."""
    bare = {name: value for name, value in os.environ.items() if name not in ("REDIS_URL", "DATABASE_URL")}
    environment = {**bare, "PYTHONPATH": str(_REPOSITORY), "RETORT_HOME": str(home / ".retort"), "COLUMNS": "120"}
    command = [sys.executable, "-m", "retort.offline.cli", "quickstart", *arguments]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=home,
        env=environment,
        # a shell's background jobs ignore Ctrl-C, and so would this child
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield Quickstart(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
