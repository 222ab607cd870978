"""The API as a child process of `retort demo` and `retort quickstart`."""

import socket
import time
from contextlib import AbstractContextManager
from pathlib import Path

from rich.console import Console

from retort.offline.library.server import api_process
from retort.offline.local.local_redis import free_port
from retort.offline.local.subprocesses import Child

_DEFAULT_PORT = 8000


def local_server(environment: dict[str, str], out: Path) -> AbstractContextManager[tuple[str, Child]]:
    """Run the API over the champion; its log is `out/api.log`."""
    return api_process(environment, _port(), out / "api.log")


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
    try:
        console.print("Serving until Ctrl-C.")
        while True:
            server.check("it ended unexpectedly")
            time.sleep(1)
    except KeyboardInterrupt:
        console.print(f"Stopped; {then}", markup=False)
