"""Ten minutes of load with flat memory, while users are asked for, events come in and bundles change."""

import asyncio
import statistics
import threading
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from benchmarks.load import Run, post
from retort.shared.history.history_load import load_histories
from tests.faults._watch import metric
from tests.faults.conftest import Registry
from tests.serving._process import Server, serving_process

RATE = 150.0  # a second, over all three kinds of requests
SECONDS = 600.0
WARM_UP_S = 120.0  # the allocator finds its size
USERS = 6_000  # more than a process remembers
LENGTH = 5
SAMPLE_S = 5.0
A_MINUTE = int(60 / SAMPLE_S)
SWAP_S = 20.0
# 14 bytes a request: a leak of the smallest object in each answer shows above it.
MAX_GROWTH_KIB_A_MINUTE = 128.0


# A pause of a busy machine is no fault here, so Redis has time.
SETTINGS: dict[str, Any] = {
    "retort_follow_every_s": 1,
    "history_length": LENGTH,
    "retort_history_timeout_s": 5,
    "retort_deadline_s": 10,
}


@pytest.mark.long
def test_ten_minutes_of_load_leave_memory_flat(
    bundles: list[Path], published: Registry, redis_url: str, tmp_path: Path
) -> None:
    with serving_process(tmp_path, database_url=published.url, redis_url=redis_url, **SETTINGS) as server:
        server.ready()
        _make_known(server, redis_url)
        stop, resident_kib, swaps = threading.Event(), [], [0]

        def watch() -> None:
            while not stop.wait(SAMPLE_S):
                resident_kib.append(_resident_kib(server.process.pid))

        def swap() -> None:
            while not stop.wait(SWAP_S):
                swaps[0] += 1
                published.promote(bundles[swaps[0] % 2])

        threads = [threading.Thread(target=one) for one in (watch, swap)]
        for thread in threads:
            thread.start()
        run = Run(_requests(), _answered, watch_pid=server.process.pid, check_every=10)
        port = int(server.url.rpartition(":")[2])
        report = asyncio.run(run.open(port, connections=32, rate=RATE, warm_up_s=WARM_UP_S, seconds=SECONDS))
        stop.set()
        for thread in threads:
            thread.join()
        taken = metric(server, "retort_bundle_swaps_total", outcome="taken")
        failures = metric(server, "retort_store_failures_total")
    measured = resident_kib[int(WARM_UP_S / SAMPLE_S) :]
    minutes = [n * SAMPLE_S / 60 for n in range(len(measured))]
    growth_kib = statistics.linear_regression(minutes, measured).slope
    each_minute = [round(statistics.median(measured[n : n + A_MINUTE])) for n in range(0, len(measured), A_MINUTE)]
    print(
        f"{sum(report.statuses.values())} requests {dict(report.statuses)}, {taken:.0f} bundles taken, "
        f"{report.wrong} wrong, {report.lost} lost, {report.closed_while_idle} connections closed while idle, "
        f"{failures:.0f} calls to Redis failed; resident KiB by minute {each_minute}, {growth_kib:+.0f} a minute"
    )
    assert set(report.statuses) == {200, 202}
    assert report.lost == report.wrong == failures == 0
    assert taken >= swaps[0] - 1
    assert growth_kib < MAX_GROWTH_KIB_A_MINUTE


def _make_known(server: Server, redis_url: str) -> None:
    """Everybody has a history of full length and was asked once, so that the process's memory of users is full."""
    items = [(f"i{n + 1}", 1_700_000_000_000 + n) for n in range(LENGTH)]
    load_histories(redis_url, ((f"user-{n}", items) for n in range(USERS)), max_events=LENGTH)
    with httpx.Client(base_url=server.url) as client:
        for n in range(USERS):
            assert client.post("/recommend", json={"user_id": f"user-{n}"}).json()["source"] == "student"


def _requests() -> list[bytes]:
    """In turns: one asks by id, one by a history of its own and with reasons, one tells what was clicked."""
    made = []
    for n in range(USERS):
        user_id, item_id = f"user-{n}", f"i{n % 60 + 1}"
        made.append(post("/recommend", orjson.dumps({"user_id": user_id, "k": 5})))
        made.append(post("/recommend", orjson.dumps({"history": [item_id, "i3"], "k": 5, "explain": True})))
        made.append(post("/events", orjson.dumps({"user_id": user_id, "item_id": item_id})))
    return made


def _answered(which: int, body: bytes) -> bool:
    document = orjson.loads(body)
    return bool(document["accepted"] == 1 if which % 3 == 2 else len(document["items"]) == 5)


def _resident_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
