"""Servers under test as child processes: Retort on uvicorn or granian, the plain endpoint, and nginx in front."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from retort.offline.local.local_redis import free_port
from retort.shared.base.parent_death import parent_death_signal

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
    environment = {**os.environ, "REDIS_URL": redis_url, "OMP_NUM_THREADS": "1", "LOG_LEVEL": "WARNING"}
    environment |= {"RETORT_BUNDLE": str(bundle), "RETORT_PORT": str(port), "RETORT_WORKERS": str(workers)}
    if name == "plain":
        command = [sys.executable, "-m", "benchmarks.plain_endpoint", str(bundle), str(port)]
    elif name == "granian":
        assert granian is not None
        environment["PYTHONPATH"] = os.pathsep.join([os.getcwd(), _packages(granian)])
        command = [sys.executable, "-m", "granian", "--interface", "asgi", "--factory", "--loop", "uvloop"]
        command += ["--no-ws", "--http", "1", "--port", str(port), "--workers", str(workers), "--log-level", "warning"]
        command += ["retort.serving.__main__:worker"]
    else:
        command = [sys.executable, "-m", "retort.serving"]
    with _child(command, environment, cores) as (child, started_s):
        _wait_until_ready(name, child, port)
        yield Server(name, port, child.pid, time.monotonic() - started_s)


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
        with _child(command, dict(os.environ), cores) as (child, started_s):
            _wait_until_listening(child, port)
            yield Server("nginx", port, child.pid, time.monotonic() - started_s)


def memory_mib(pid: int) -> tuple[int, int]:
    """Return (RSS, PSS): all mapped memory, and with shared pages divided by their number of users."""
    kib = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split()[:2]
        kib[name] = int(value)
    return kib["Rss:"] // 1024, kib["Pss:"] // 1024


@contextmanager
def _child(
    command: Sequence[str], environment: Mapping[str, str], cores: set[int] | None
) -> Iterator[tuple["subprocess.Popen[bytes]", float]]:
    """Run a command; its workers inherit its cores."""
    started_s = time.monotonic()
    child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, preexec_fn=parent_death_signal())
    try:
        if cores is not None:
            os.sched_setaffinity(child.pid, cores)
        yield child, started_s
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _packages(python: str) -> str:
    """Return the directory of an interpreter's packages."""
    command = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _wait_until_ready(name: str, child: "subprocess.Popen[bytes]", port: int) -> None:
    """Wait for a 200 of /health/ready, or of a recommendation for the plain endpoint."""
    base, deadline = f"http://127.0.0.1:{port}", time.monotonic() + START_LIMIT_S
    with httpx.Client(base_url=base, timeout=START_LIMIT_S) as client:
        while time.monotonic() < deadline and child.poll() is None:
            try:
                if name == "plain":
                    response = client.post("/recommend", json={"user_id": "u0", "k": 1})
                else:
                    response = client.get("/health/ready")
                if response.status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.01)
    raise SystemExit(f"the {name} server did not start within {START_LIMIT_S:.0f} s")


def _wait_until_listening(child: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline and child.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise SystemExit("nginx did not start; read its errors above")
