"""A real server as a child process."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from retort.offline.local.subprocesses import end_process

REPOSITORY = Path(__file__).parents[2]


@dataclass
class Server:
    """A running `python -m retort.serving`."""

    process: "subprocess.Popen[str]"
    url: str
    started_in_s: float

    def ready(self, within_s: float = 90.0) -> None:
        """Wait until /health/ready says so."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            try:
                if httpx.get(f"{self.url}/health/ready", timeout=2).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.02)
        raise AssertionError(f"not ready within {within_s} s")


@contextmanager
def serving_process(home: Path, *, prelude: str = "", **environment: object) -> Iterator[Server]:
    """Start on a free port; `prelude` is Python that runs first; stopped by its own pid."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("RETORT_", "REDIS_", "DATABASE_"))}
    own |= {"RETORT_PORT": "0", "RETORT_HOME": str(home), "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    own |= {name.upper(): str(value) for name, value in environment.items()}
    code = f"{prelude}\nimport retort.serving.main as entry\nif __name__ == '__main__':\n    entry.main()\n"
    started = time.monotonic()
    with open(home / "server.log", "a") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", code], env=own, cwd=home, stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, f"no address in {line!r}: {(home / 'server.log').read_text()[-2000:]}"
        yield Server(process, found[0], time.monotonic() - started)
    finally:
        end_process(process, grace_s=10)
        assert process.stdout is not None
        process.stdout.close()
