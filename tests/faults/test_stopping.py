"""Processes that end: by SIGTERM under load no accepted request is lost, by SIGKILL the others go on."""

import os
import signal
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults._watch import Load, all_at_once, metric, soon
from tests.serving._process import serving_process

REQUEST: dict[str, Any] = {"history": ["i1", "i2", "i3"], "k": 5}


def test_a_stop_under_load_answers_what_was_accepted(bundles: list[Path], tmp_path: Path) -> None:
    lines = b'{"history": ["i1", "i2", "i3"], "k": 50}\n' * 1000
    with serving_process(tmp_path, retort_bundle=bundles[0]) as server:
        server.ready()

        def ask() -> httpx.Response:
            return httpx.post(f"{server.url}/recommend/batch", content=lines, timeout=60)

        def stop() -> None:
            # /metrics itself is in flight, too; callers that were answered already need no waiting for
            soon(lambda: in_flight() >= 8 or metric(server, "retort_requests_total", route="/recommend/batch") > 0)
            server.process.send_signal(signal.SIGTERM)

        def in_flight() -> float:
            return metric(server, "retort_requests_in_flight")

        *answers, _ = all_at_once([ask] * 8 + [stop])
        assert server.process.wait(30) == -signal.SIGTERM
    for answer in answers:
        assert answer.status_code == 200
        assert len(answer.content.splitlines()) == 1000, "no line is lost"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_that_leaves_says_so_and_loses_no_request(bundles: list[Path], tmp_path: Path, workers: int) -> None:
    ready: list[int] = []
    with serving_process(tmp_path, retort_bundle=bundles[0], retort_workers=workers, retort_leave_s=4) as server:
        server.ready()

        def stays(response: httpx.Response) -> bool:
            """As a load balancer does: whoever hears that the server leaves goes to another one."""
            return response.headers.get("connection") != "close"

        with Load(server.url, REQUEST, callers=6, go_on=stays) as load:
            soon(lambda: len(load.answers) > 50)
            server.process.send_signal(signal.SIGTERM)
            soon(lambda: _seen(ready, server.url) == 503, within_s=3.5)
            late = httpx.post(f"{server.url}/recommend", json=REQUEST)
            soon(lambda: not any(thread.is_alive() for thread in load._threads))
        server.process.wait(20)
    assert late.status_code == 200, "it goes on answering while it leaves"
    assert not load.broken
    assert not load.refusals


def _seen(ready: list[int], url: str) -> int:
    ready.append(httpx.get(f"{url}/health/ready").status_code)
    return ready[-1]


def test_a_killed_worker_is_replaced_and_the_others_go_on(bundles: list[Path], tmp_path: Path) -> None:
    with serving_process(tmp_path, retort_bundle=bundles[0], retort_workers=2) as server:
        server.ready()
        soon(lambda: metric(server, "retort_worker_starts_total") == 2, within_s=30)
        children = _children(server.process.pid)
        stop = threading.Event()

        def asks() -> tuple[int, int]:
            """(answered, broken): the dead worker's own connections may break, no others."""
            answered = broken = 0
            while not stop.is_set():
                try:
                    answered += httpx.post(f"{server.url}/recommend", json=REQUEST, timeout=10).status_code == 200
                except httpx.TransportError:
                    broken += 1
            return answered, broken

        def kills() -> None:
            os.kill(children[0], signal.SIGKILL)
            try:
                soon(lambda: metric(server, "retort_worker_starts_total") == 3, within_s=30)
                soon(lambda: len(set(_children(server.process.pid)) - set(children)) == 1)
            finally:
                stop.set()

        (answered, broken), _ = all_at_once([asks, kills])
        assert answered >= 20
        assert broken <= 2
        assert children[1] in _children(server.process.pid), "the other one was not touched"


def _children(pid: int) -> list[int]:
    """Workers of the server; multiprocessing's helper process is not one."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                command = (entry / "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if parent == pid and command and b"resource_tracker" not in command:
                found.append(int(entry.name))
    return found
