"""Metrics over several workers: gauges of living workers, counters of all."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.serving._process import Server, serving_process


def value(server: Server, name: str, **labels: str) -> float:
    text = httpx.get(f"{server.url}/metrics", timeout=10).text
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return sum(one.value for one in samples if one.name == name and labels.items() <= one.labels.items())


def workers(server: Server) -> list[int]:
    """The pids of the worker processes: children of the supervisor that were spawned to serve."""
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def until(holds: Callable[[], bool], within_s: float = 90.0) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.1)


def metrics_dir(pid: int) -> Path:
    entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    (found,) = (entry for entry in entries if entry.startswith(b"RETORT_METRICS_DIR="))
    return Path(found.partition(b"=")[2].decode())


def test_a_dead_workers_gauges_are_removed_and_its_counters_stay(bundle_path: Path, tmp_path: Path) -> None:
    with serving_process(tmp_path, retort_bundle=bundle_path, retort_workers=2) as server:
        server.ready()
        until(lambda: value(server, "retort_worker_starts_total") == 2)
        for _ in range(6):
            asked = httpx.post(f"{server.url}/recommend", json={"history": ["i1"], "fields": ["title"], "k": 4})
            assert asked.status_code == 200
        assert value(server, "retort_exposures_total", source="student") == 6
        assert value(server, "retort_exposed_items_total", source="student") == 24
        for stage in ("queue", "student", "rules"):
            assert value(server, "retort_stage_seconds_count", stage=stage) >= 1, stage
        victim, _ = workers(server)
        files = metrics_dir(victim)
        assert list(files.glob(f"gauge_live*_{victim}.db"))
        os.kill(victim, signal.SIGKILL)
        until(lambda: not list(files.glob(f"gauge_live*_{victim}.db")))
        until(lambda: value(server, "retort_worker_starts_total") == 3)
        assert value(server, "retort_exposures_total", source="student") == 6
        assert value(server, "retort_requests_in_flight") == 0
        assert value(server, "retort_model_info", alias="champion") == 1
    assert not files.exists()


def test_workers_end_when_their_supervisor_is_killed(bundle_path: Path, tmp_path: Path) -> None:
    with serving_process(tmp_path, retort_bundle=bundle_path, retort_workers=2) as server:
        server.ready()
        ids = workers(server)
        assert len(ids) == 2
        os.kill(server.process.pid, signal.SIGKILL)
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in ids), within_s=15)
