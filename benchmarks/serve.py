"""Benchmark of serving (`make bench-serve`), compared with a plain FastAPI + redis-py + ONNX Runtime endpoint.

The server is pinned to one core, Redis and the load generator to another. Every twentieth response is compared with the
graph's own result; a response of the fallback chain counts as degraded. The runs are closed loops with several numbers
of connections and open loops at fixed rates, for three sizes of catalogue; start-up time and memory are measured too.
`ARGS=--quick` takes a minute.
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import orjson

from benchmarks import synthetic_data
from benchmarks.load import Report, Run, post
from retort.offline.local.local_redis import free_port, private_redis
from retort.shared.base.parent_death import parent_death_signal
from retort.shared.history.redis_history import load_histories
from retort.shared.model.bundle import Bundle, open_bundle

SERVER_CORE, OTHER_CORE = 0, 1
K = 10
START_LIMIT_S = 120.0
# Open loops are run for the size whose rates are guaranteed; with a million items a response takes 2 ms or more.
CLOSED = {12_000: (1, 16, 64), 100_000: (1, 64), 1_000_000: (1, 16)}
OPEN = {12_000: (500, 1_000, 2_000)}
USERS = {12_000: 2_000, 100_000: 500, 1_000_000: 200}

Histories = Sequence[tuple[str, list[tuple[str, int]]]]


@dataclass(frozen=True)
class Server:
    """A running server and its start-up time."""

    name: str
    port: int
    pid: int
    ready_s: float


class Expected:
    """Results of the graph for each request, computed before the measurement."""

    def __init__(self, bundle: Bundle, users: Histories) -> None:
        scorer, index = bundle.scorer(), bundle.item_index
        self.degraded = 0
        self._answers: list[tuple[list[str], np.ndarray]] = []
        for _, events in users:
            items, scores = scorer.top_k([index.indexes(item for item, _ in events)], K).row(0)
            self._answers.append(([index.id(int(item)) for item in items], scores))

    def __call__(self, index: int, body: bytes) -> bool:
        answer = orjson.loads(body)
        if answer.get("source", "student") != "student":
            self.degraded += 1
            return True
        ids, scores = self._answers[index]
        got = [item["item_id"] for item in answer["items"]]
        if len(got) != len(ids):
            return False
        # The order of additions differs between batches, so items with almost equal scores may be exchanged.
        close = np.allclose([item["score"] for item in answer["items"]], scores, rtol=1e-4, atol=1e-5)
        return bool(close) and len(set(got) - set(ids)) <= 1


def main() -> None:
    """Run the selected measurements and print one table."""
    options = _options()
    cores = sorted(os.sched_getaffinity(0))
    directory = options.directory or Path(tempfile.mkdtemp(prefix="retort-bench-"))
    bundles = {n: synthetic_data.sealed_bundle(directory, n) for n in options.items}
    core = cores[SERVER_CORE] if len(cores) > 1 else None
    if core is not None:
        os.sched_setaffinity(0, {cores[OTHER_CORE]})
    rows: list[dict[str, object]] = []
    scratch = Path(tempfile.mkdtemp(prefix="retort-bench-redis-"))
    try:
        for n_items, bundle in bundles.items():
            # One Redis for each size, because the users of one size have items of that catalogue.
            with private_redis(scratch / str(n_items), persist=False) as service:
                rows += _measure_size(n_items, bundle, service.url, core, options)
    finally:
        shutil.rmtree(scratch)
        if options.directory is None:
            shutil.rmtree(directory)
    _print(rows, as_json=options.json)


def _measure_size(
    n_items: int, bundle: Path, redis_url: str, core: int | None, options: argparse.Namespace
) -> Iterator[dict[str, object]]:
    users = list(synthetic_data.histories(USERS.get(n_items, 500), n_items))
    load_histories(redis_url, users)
    expected = Expected(open_bundle(bundle), users)
    requests = [post("/recommend", orjson.dumps({"user_id": user_id, "k": K})) for user_id, _ in users]
    for name in options.servers:
        with _server(name, bundle, redis_url, core) as server:
            yield from _measure_server(server, n_items, requests, expected, options)


def _measure_server(
    server: Server, n_items: int, requests: Sequence[bytes], expected: Expected, options: argparse.Namespace
) -> Iterator[dict[str, object]]:
    times = options.warm_up_s, options.seconds
    for connections in options.connections or CLOSED.get(n_items, (1, 16)):
        run = Run(requests, expected, watch_pid=server.pid)
        report = asyncio.run(run.closed(server.port, connections, *times))
        yield _row(server, n_items, f"closed, {connections}", report, expected)
    for rate in OPEN.get(n_items, ()) if options.rates is None else options.rates:
        run = Run(requests, expected, watch_pid=server.pid)
        report = asyncio.run(run.open(server.port, options.open_connections, rate, *times))
        yield _row(server, n_items, f"open, {rate}/s", report, expected)


@contextmanager
def _server(name: str, bundle: Path, redis_url: str, core: int | None) -> Iterator[Server]:
    """Run the server as a child process on its own core, and yield it when it is ready."""
    port = free_port()
    environment = {**os.environ, "REDIS_URL": redis_url, "OMP_NUM_THREADS": "1", "LOG_LEVEL": "WARNING"}
    if name == "retort":
        command = [sys.executable, "-m", "retort.serving"]
        environment |= {"RETORT_BUNDLE": str(bundle), "RETORT_PORT": str(port)}
    else:
        command = [sys.executable, "-m", "benchmarks.plain_endpoint", str(bundle), str(port)]
    started_s = time.monotonic()
    child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, preexec_fn=parent_death_signal())
    try:
        if core is not None:
            os.sched_setaffinity(child.pid, {core})
        _wait_until_ready(name, child, port)
        yield Server(name, port, child.pid, time.monotonic() - started_s)
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _wait_until_ready(name: str, child: "subprocess.Popen[bytes]", port: int) -> None:
    """Wait for a 200 of /health/ready, or of a recommendation for the plain endpoint."""
    base, deadline = f"http://127.0.0.1:{port}", time.monotonic() + START_LIMIT_S
    with httpx.Client(base_url=base, timeout=START_LIMIT_S) as client:
        while time.monotonic() < deadline and child.poll() is None:
            try:
                if name == "retort":
                    response = client.get("/health/ready")
                else:
                    response = client.post("/recommend", json={"user_id": "u0", "k": 1})
                if response.status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.01)
    raise SystemExit(f"the {name} server did not start within {START_LIMIT_S:.0f} s")


def _row(server: Server, n_items: int, load: str, report: Report, expected: Expected) -> dict[str, object]:
    degraded, expected.degraded = expected.degraded, 0
    resident, proportional = _memory_mib(server.pid)
    return {
        "server": server.name,
        "items": n_items,
        "load": load,
        "answers/s": round(report.answers_per_s),
        "server CPU µs/answer": round(report.cpu_us_per_answer),
        "p50 ms": round(report.quantile_ms(0.5), 2),
        "p90 ms": round(report.quantile_ms(0.9), 2),
        "p99 ms": round(report.quantile_ms(0.99), 2),
        "failed": report.failures,
        "wrong": report.wrong,
        "degraded": degraded,
        "ready s": round(server.ready_s, 2),
        "RSS MiB": resident,
        "PSS MiB": proportional,
    }


def _memory_mib(pid: int) -> tuple[int, int]:
    """Return (RSS, PSS): all mapped memory, and with shared pages divided by their number of users."""
    kib = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split()[:2]
        kib[name] = int(value)
    return kib["Rss:"] // 1024, kib["Pss:"] // 1024


def _print(rows: Sequence[dict[str, object]], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows))
        return
    names = list(rows[0])
    print("| " + " | ".join(names) + " |")
    print("|" + "---|" * len(names))
    for row in rows:
        print("| " + " | ".join(str(row[name]) for name in names) + " |")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Benchmark serving against a plain endpoint with the same graph and data."
    )
    parser.add_argument("--quick", action="store_true", help="one size and few loads, 4 s each")
    parser.add_argument("--items", type=int, nargs="+", help="catalogue sizes")
    parser.add_argument("--connections", type=int, nargs="*", help="closed loops: numbers of connections")
    parser.add_argument("--rates", type=int, nargs="*", help="open loops: requests a second")
    parser.add_argument("--open-connections", type=int, default=128)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--warm-up-s", type=float)
    parser.add_argument("--servers", nargs="+", default=["plain", "retort"], choices=["plain", "retort"])
    parser.add_argument("--place", dest="directory", type=Path, help="keep the bundles in this directory")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    quick = {"items": [12_000], "connections": [1, 64], "rates": [2_000], "seconds": 4.0, "warm_up_s": 1.0}
    full = {"items": list(CLOSED), "seconds": 10.0, "warm_up_s": 2.0}
    for name, value in (quick if options.quick else full).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


if __name__ == "__main__":
    main()
