"""Swaps under load, stops under load, overload, a killed worker: no wrong answer, no accepted request lost."""

import concurrent.futures
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.bundles import load
from shared import registry
from shared.bundle import read_manifest
from shared.db.migrate import upgrade
from shared.db.session import open_database
from tests.serving._graphs import make_bundle
from tests.serving._process import Server, serving_process

REQUEST = {"history": ["i1", "i2", "i3"], "k": 5}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    place = tmp_path_factory.mktemp("bundles")
    return [make_bundle(place, seed=seed) for seed in (0, 1)]


def expected(path: Path) -> list[str]:
    """What a bundle answers to REQUEST."""
    live = load(path)
    history = live.catalogue.index.indexes(REQUEST["history"])
    items, _ = live.scorer.top_k([history], 5).row(0)
    return [live.catalogue.ids[item] for item in items]


class Load:
    """Callers that ask without pause and keep what they see."""

    def __init__(self, url: str, callers: int = 4) -> None:
        self.answers: list[dict[str, Any]] = []
        self.statuses: list[int] = []
        self.broken: list[Exception] = []
        self._stop = threading.Event()
        self._url = url
        self._threads = [threading.Thread(target=self._call) for _ in range(callers)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        with httpx.Client(base_url=self._url, timeout=10) as client:
            while not self._stop.is_set():
                try:
                    response = client.post("/recommend", json=REQUEST)
                except httpx.TransportError as error:
                    self.broken.append(error)
                    continue
                self.statuses.append(response.status_code)
                if response.status_code == 200:
                    self.answers.append(response.json())


def test_swaps_and_rollbacks_under_load_fail_nobody(bundles: list[Path], tmp_path: Path) -> None:
    database_url = f"sqlite:///{tmp_path / 'retort.db'}"
    upgrade(database_url)
    engine = open_database(database_url)
    for path in bundles:
        registry.publish(engine, read_manifest(path), str(path))
    registry.promote(engine, bundles[0].name)
    right = {path.name: expected(path) for path in bundles}
    with serving_process(tmp_path, database_url=database_url, retort_follow_every_s=0.02) as server:
        server.ready()
        with Load(server.url) as load_:
            for turn in range(16):
                if turn % 2:
                    registry.rollback(engine)
                else:
                    registry.promote(engine, bundles[1].name)
                _wait_for(server, bundles[(turn + 1) % 2].name)
    engine.dispose()
    assert not load_.broken
    assert set(load_.statuses) == {200}
    assert {answer["model"]["version"] for answer in load_.answers} == set(right)
    for answer in load_.answers:
        assert [item["item_id"] for item in answer["items"]] == right[answer["model"]["version"]]


def _wait_for(server: Server, version: str) -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if httpx.get(f"{server.url}/models").json()["models"][0]["version"] == version:
            return
        time.sleep(0.01)
    raise AssertionError("the alias was not followed")


def test_a_stop_under_load_answers_what_was_accepted(bundles: list[Path], tmp_path: Path) -> None:
    with serving_process(tmp_path, retort_bundle=bundles[0]) as server:
        server.ready()
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            lines = b'{"history": ["i1", "i2", "i3"], "k": 50}\n' * 1000
            asked = [
                pool.submit(httpx.post, f"{server.url}/recommend/batch", content=lines, timeout=30) for _ in range(8)
            ]
            _until_in_flight(server, 8)
            server.process.send_signal(signal.SIGTERM)
            answers = [future.result() for future in asked]
        assert server.process.wait(20) == -signal.SIGTERM
    for answer in answers:
        assert answer.status_code == 200
        assert len(answer.content.splitlines()) == 1000, "no line is lost"


def _until_in_flight(server: Server, count: int) -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        text = httpx.get(f"{server.url}/metrics", timeout=10).text
        line = next(line for line in text.splitlines() if line.startswith("retort_requests_in_flight"))
        # /metrics itself is in flight, too
        if float(line.split()[-1]) >= count or 'route="/recommend/batch"' in text:
            return
    raise AssertionError("the load never arrived")


def test_overload_is_refused_at_once_and_passes(bundles: list[Path], tmp_path: Path) -> None:
    slow = "import time, shared.scoring as s\nold = s.Scorer.top_k\ndef top_k(self, *a, **k):\n"
    slow += "    time.sleep(0.03)\n    return old(self, *a, **k)\ns.Scorer.top_k = top_k\n"
    with serving_process(
        tmp_path, prelude=slow, retort_bundle=bundles[0], retort_max_waiting=8, retort_max_batch=1
    ) as server:
        server.ready()
        with Load(server.url, callers=24) as crowd:
            time.sleep(1.0)
        assert set(crowd.statuses) == {200, 503}
        assert not crowd.broken
        with Load(server.url, callers=2) as few:
            time.sleep(0.5)
        assert set(few.statuses) == {200}, "it recovers at once"
        text = httpx.get(f"{server.url}/metrics").text
        assert 'retort_refused_requests_total{why="overload"}' in text


def test_a_killed_worker_is_replaced_and_the_others_go_on(bundles: list[Path], tmp_path: Path) -> None:
    with serving_process(tmp_path, retort_bundle=bundles[0], retort_workers=2) as server:
        server.ready()
        children = _children(server.process.pid)
        os.kill(children[0], signal.SIGKILL)
        answered = 0
        until = time.monotonic() + 15
        while time.monotonic() < until and (answered < 20 or not set(_children(server.process.pid)) - set(children)):
            try:
                answered += httpx.post(f"{server.url}/recommend", json=REQUEST, timeout=5).status_code == 200
            except httpx.TransportError:
                continue  # the dead worker's own connections
        assert answered >= 20
        assert set(_children(server.process.pid)) - set(children), "another took its place"


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


def test_damaged_bundles_never_answer(bundles: list[Path], tmp_path: Path) -> None:
    database_url = f"sqlite:///{tmp_path / 'retort.db'}"
    upgrade(database_url)
    engine = open_database(database_url)
    damaged = {how: make_bundle(tmp_path, seed=seed) for seed, how in enumerate(("flip", "half", "gone"), start=7)}
    for path in (bundles[0], *damaged.values()):
        registry.publish(engine, read_manifest(path), str(path))
    registry.promote(engine, bundles[0].name)
    with serving_process(tmp_path, database_url=database_url, retort_follow_every_s=0.05) as server:
        server.ready()
        for refused, (how, path) in enumerate(damaged.items(), start=1):
            _damage(path, how)
            registry.promote(engine, path.name)
            until = time.monotonic() + 20
            while len(httpx.get(f"{server.url}/models").json()["models"][0]["refusals"]) < refused:
                assert time.monotonic() < until, how
                time.sleep(0.02)
            answer = httpx.post(f"{server.url}/recommend", json=REQUEST).json()
            assert answer["model"]["version"] == bundles[0].name, how
    engine.dispose()


def _damage(path: Path, how: str) -> None:
    graph = path / "model.onnx"
    data = bytearray(graph.read_bytes())
    if how == "flip":
        data[len(data) // 2] ^= 1
        graph.write_bytes(data)
    elif how == "half":
        graph.write_bytes(data[: len(data) // 2])
    else:
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
