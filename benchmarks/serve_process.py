"""Servers under test as child processes: Retort on uvicorn or granian, the plain endpoint, and nginx in front."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from retort.offline.library.server import OWN_SERVER
from retort.offline.local.local_redis import free_port
from retort.offline.local.subprocesses import Child, start_child

START_LIMIT_S = 120.0
NGINX = shutil.which("nginx")
_NGINX_CONF = Path(__file__).parents[1] / "deploy" / "nginx" / "retort.conf"


@dataclass(frozen=True)
class Server:
    """A running server and its start-up time."""

    name: str
    port: int
    pid: int
    ready_s: float


@contextmanager
def running(
    name: str,
    bundle: Path,
    redis_url: str,
    cores: set[int] | None,
    *,
    workers: int = 1,
    granian: str | None = None,
) -> Iterator[Server]:
    """Run a server as a child process on its own cores, and yield it when it is ready.

    Args:
        name: `retort`, `plain` or `granian` (Retort's application on that server).
        bundle: Sealed bundle to serve.
        redis_url: Redis of the histories.
        cores: Cores of the server and its workers; None: any.
        workers: Worker processes.
        granian: Interpreter of this Python version that has granian; its packages are added to this environment's.
    """
    port = free_port()
    environment = {"REDIS_URL": redis_url, "OMP_NUM_THREADS": "1", "LOG_LEVEL": "WARNING"}
    environment |= OWN_SERVER
    environment |= {"RETORT_BUNDLE": str(bundle), "RETORT_PORT": str(port), "RETORT_WORKERS": str(workers)}
    if name == "plain":
        command = [sys.executable, "-m", "benchmarks.plain_endpoint", str(bundle), str(port)]
    elif name == "granian":
        assert granian is not None
        environment["PYTHONPATH"] = os.pathsep.join([os.getcwd(), _packages(granian)])
        command = [sys.executable, "-m", "granian", "--interface", "asgi", "--factory", "--loop", "uvloop"]
        command += ["--no-ws", "--http", "1", "--port", str(port), "--workers", str(workers), "--log-level", "warning"]
        command += ["retort.serving.main:worker"]
    else:
        command = [sys.executable, "-m", "retort.serving"]
    with _pinned(command, name, environment, cores) as (child, started_s):
        _wait_until_ready(child, port)
        yield Server(name, port, child.process.pid, time.monotonic() - started_s)


@contextmanager
def nginx_before(servers: Sequence[Server], cores: set[int] | None) -> Iterator[Server]:
    """Run nginx with the shipped configuration before the servers, and yield it when it listens."""
    assert NGINX is not None, "requires nginx"
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="retort-bench-nginx-") as directory:
        # An nginx before 1.27.3 does not follow a name at run time, so the addresses are written.
        addresses = "\n    ".join(f"server 127.0.0.1:{server.port} max_fails=0;" for server in servers)
        text = _NGINX_CONF.read_text().replace("server api:8000 resolve max_fails=0;", addresses)
        text = text.replace("listen 8080", f"listen 127.0.0.1:{port}").replace(" /tmp/", f" {directory}/")
        conf = Path(directory) / "retort.conf"
        conf.write_text(text.replace("worker_processes auto", "worker_processes 1"))
        command = [NGINX, "-p", directory, "-c", str(conf), "-g", "daemon off;"]
        with _pinned(command, "nginx", {}, cores) as (child, started_s):
            _wait_until(child, lambda: _listens(port))
            yield Server("nginx", port, child.process.pid, time.monotonic() - started_s)


def memory_mib(pid: int) -> tuple[int, int]:
    """Return (RSS, PSS): all mapped memory, and with shared pages divided by their number of users."""
    kib = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split()[:2]
        kib[name] = int(value)
    return kib["Rss:"] // 1024, kib["Pss:"] // 1024


@contextmanager
def _pinned(
    command: Sequence[str], name: str, environment: Mapping[str, str], cores: set[int] | None
) -> Iterator[tuple[Child, float]]:
    """Start a child process on its cores, which its workers inherit; yield it with the time of its start."""
    with tempfile.TemporaryDirectory(prefix="retort-bench-") as directory:
        started_s = time.monotonic()
        log = Path(directory) / f"{name}.log"
        with start_child(command, name, log=log, env=environment, grace_s=10) as child:
            if cores is not None:
                os.sched_setaffinity(child.process.pid, cores)
            yield child, started_s


def _packages(python: str) -> str:
    """Return the directory of an interpreter's packages."""
    command = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _wait_until_ready(child: Child, port: int) -> None:
    """Wait for a 200 of /health/ready, or of a recommendation for the plain endpoint."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=START_LIMIT_S) as client:

        def is_ready() -> bool:
            try:
                if child.name == "plain":
                    return client.post("/recommend", json={"user_id": "u0", "k": 1}).status_code == 200
                return client.get("/health/ready").status_code == 200
            except httpx.TransportError:
                return False

        _wait_until(child, is_ready)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _wait_until(child: Child, is_up: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while not is_up():
        child.check("it ended while starting")
        if time.monotonic() > deadline:
            raise SystemExit(f"{child.name} did not start within {START_LIMIT_S:.0f} s: {child.tail()}")
        time.sleep(0.01)
