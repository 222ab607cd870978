"""`make bench-serve`: this server and a plain FastAPI + redis-py + ONNX Runtime endpoint, in one run.

The server is pinned to one core, Redis and the load generator to another. Every twentieth answer is compared with what
the graph says. Closed loop at several numbers of connections, then open loop at fixed rates.
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
from pathlib import Path

import httpx
import orjson

from benchmarks import world
from benchmarks.load import Check, Report, Run, post
from offline.embedded import free_port, private_redis
from shared.bundle import Bundle, open_bundle
from shared.redis_history import load_histories

SERVER_CORE, OTHER_CORE = 0, 1
K = 10


def main() -> None:
    """Run the measurements that were asked for and print one table."""
    options = _options()
    cores = sorted(os.sched_getaffinity(0))
    pinned = len(cores) > 1
    place = options.place or Path(tempfile.mkdtemp(prefix="retort-bench-"))
    bundles = {n: world.sealed_bundle(place, n) for n in options.items}
    if pinned:
        os.sched_setaffinity(0, {cores[OTHER_CORE]})
    rows = []
    core = cores[SERVER_CORE] if pinned else None
    scratch = Path(tempfile.mkdtemp(prefix="retort-bench-redis-"))
    with private_redis(scratch, persist=False) as service:
        for n_items, bundle in bundles.items():
            users = list(world.histories(options.users, n_items))
            load_histories(service.url, users)
            requests, check = _requests(open_bundle(bundle), users)
            for name in options.servers:
                with _server(name, bundle, service.url, core) as (port, pid):
                    rows += _measured(name, n_items, port, pid, requests, check, options)
    shutil.rmtree(scratch)
    _print(rows, options)


def _measured(
    name: str, n_items: int, port: int, pid: int, requests: Sequence[bytes], check: Check, options: argparse.Namespace
) -> Iterator[dict[str, object]]:
    for connections in options.connections:
        run = Run(requests, check, watch_pid=pid)
        report = asyncio.run(run.closed(port, connections, options.warm_up_s, options.seconds))
        yield _row(name, n_items, f"closed, {connections} connections", report, pid)
    for rate in options.rates:
        run = Run(requests, check, watch_pid=pid)
        report = asyncio.run(run.open(port, options.open_connections, rate, options.warm_up_s, options.seconds))
        yield _row(name, n_items, f"open, {rate}/s", report, pid)


def _requests(bundle: Bundle, users: Sequence[tuple[str, list[tuple[str, int]]]]) -> tuple[list[bytes], Check]:
    """One request for each user, and what the graph itself says of it."""
    bodies = [orjson.dumps({"user_id": user_id, "k": K}) for user_id, _ in users]
    scorer, index = bundle.scorer(), bundle.item_index
    sequences = [index.indexes(item for item, _ in events) for _, events in users]
    expected: dict[int, list[str]] = {}

    def check(which: int, body: bytes) -> bool:
        if which not in expected:
            items, _ = scorer.top_k([sequences[which]], K).row(0)
            expected[which] = [index.id(int(item)) for item in items]
        answer = orjson.loads(body)
        # Neighbours whose scores differ in the last bit may change places between batch sizes.
        return sorted(item["item_id"] for item in answer["items"]) == sorted(expected[which])

    return [post("/recommend", body) for body in bodies], check


@contextmanager
def _server(name: str, bundle: Path, redis_url: str, core: int | None) -> Iterator[tuple[int, int]]:
    """The server as a child on its own core; killed by its pid."""
    port = free_port()
    environment = {**os.environ, "REDIS_URL": redis_url, "OMP_NUM_THREADS": "1", "LOG_LEVEL": "WARNING"}
    if name == "retort":
        command = [sys.executable, "-m", "serving"]
        environment |= {"RETORT_BUNDLE": str(bundle), "RETORT_PORT": str(port)}
    else:
        command = [sys.executable, "-m", "benchmarks.plain_endpoint", str(bundle), str(port)]
    child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    if core is not None:
        os.sched_setaffinity(child.pid, {core})
    try:
        _wait(port)
        yield port, child.pid
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _wait(port: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            if httpx.post(f"http://127.0.0.1:{port}/recommend", json={"user_id": "u0", "k": 1}).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise SystemExit("the server did not start within 60 s")


def _row(name: str, n_items: int, load: str, report: Report, pid: int) -> dict[str, object]:
    return {
        "server": name,
        "items": n_items,
        "load": load,
        "answers/s": round(report.answers_per_s),
        "server CPU µs/answer": round(report.cpu_us_per_answer),
        "p50 ms": round(report.quantile_ms(0.5), 2),
        "p90 ms": round(report.quantile_ms(0.9), 2),
        "p99 ms": round(report.quantile_ms(0.99), 2),
        "failed": report.failures,
        "wrong": report.wrong,
        "memory MiB": _resident_mib(pid),
    }


def _resident_mib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) // 1024
    return 0


def _print(rows: Sequence[dict[str, object]], options: argparse.Namespace) -> None:
    if options.json:
        print(json.dumps(rows))
        return
    names = list(rows[0])
    print("| " + " | ".join(names) + " |")
    print("|" + "---|" * len(names))
    for row in rows:
        print("| " + " | ".join(str(row[name]) for name in names) + " |")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, nargs="+", default=[12_000])
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--connections", type=int, nargs="*", default=[1, 16, 64])
    parser.add_argument("--rates", type=int, nargs="*", default=[500, 1_000, 2_000])
    parser.add_argument("--open-connections", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--warm-up-s", type=float, default=2.0)
    parser.add_argument("--servers", nargs="+", default=["plain", "retort"], choices=["plain", "retort"])
    parser.add_argument("--place", type=Path, help="keep the bundles here")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
