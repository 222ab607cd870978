"""Start of a model's server: a child process that answers /health once it serves."""

import time

import httpx

from retort.offline.local.subprocesses import Child


def wait_until_healthy(child: Child, port: int, within_s: float, poll_s: float) -> str:
    """Wait until the server of a child process is healthy; returns its URL. Fails with the end of its log."""
    end = time.monotonic() + within_s
    while not _healthy(port):
        child.check("it ended while starting")
        assert time.monotonic() < end, child.tail()
        time.sleep(poll_s)
    return f"http://127.0.0.1:{port}/v1"


def _healthy(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False
