"""The API as a child process of `retort demo` and `retort quickstart`."""

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from retort.offline.cli.demo_client import DemoClient
from retort.offline.local.local_redis import free_port
from retort.offline.local.subprocesses import Child, start_child
from retort.shared.base.errors import RetortError
from retort.shared.model.registry import CHAMPION

_DEFAULT_PORT = 8000
_POLL_S = 0.2
_READY_TIMEOUT_S = 60.0


@contextmanager
def local_server(environment: dict[str, str], out: Path) -> Iterator[tuple[str, Child]]:
    """Start the API as a child process; yields its URL and process once it is ready."""
    port = _port()
    url = f"http://127.0.0.1:{port}"
    environment = {**environment, "RETORT_HOST": "127.0.0.1", "RETORT_PORT": str(port), "RETORT_ALIAS": CHAMPION}
    with start_child([sys.executable, "-m", "retort.serving"], "API", log=out / "api.log", env=environment) as child:
        with DemoClient(url) as client:
            end = time.monotonic() + _READY_TIMEOUT_S
            while not client.is_ready():
                child.check("it ended while starting")
                if time.monotonic() > end:
                    raise RetortError(f"the API was not ready within {_READY_TIMEOUT_S:.0f} s; read {child.log}.")
                time.sleep(_POLL_S)
        yield url, child


def _port() -> int:
    """The default port if it is free, else any free one."""
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", _DEFAULT_PORT))
        except OSError:
            return free_port()
    return _DEFAULT_PORT


def serve_until_interrupted(console: Console, server: Child, then: str) -> None:
    """Wait for Ctrl-C; `then` says what the same command does next time."""
    console.print("Serving until Ctrl-C.")
    try:
        while True:
            server.check("it ended unexpectedly")
            time.sleep(1)
    except KeyboardInterrupt:
        console.print(f"Stopped; {then}", markup=False)
