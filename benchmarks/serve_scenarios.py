"""Scenarios of the serving benchmark: open loop, overload, workers, nginx and granian.

Workers: one worker and two run on both cores, which the load generator and Redis need too, so this shows little of
scaling. Four are simulated: one, two and four workers share one core, with 64 connections each. What an answer of
several workers takes more of CPU time is the cost of running side by side (caches, scheduling, shared metrics). n
workers on n cores are estimated as n times the answers of one, less this loss, and at most what one core of Redis can
serve. Memory bandwidth, which four cores share, is not in the estimate; it matters for large catalogues.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import redis

from benchmarks.load import cpu_seconds
from benchmarks.load_report import Report
from benchmarks.serve_process import Server, nginx_before, running
from benchmarks.serve_workload import Workload

CONNECTIONS, OPEN_CONNECTIONS = 64, 128
OPEN_SHARE, OVERLOAD_FACTOR = 0.6, 3.0
# More than RETORT_MAX_WAITING (256), so that the server has to refuse requests.
OVERLOAD_CONNECTIONS = 512
START_S = 6.0  # of a server, for the estimate of the duration

Row = dict[str, object]


@dataclass(frozen=True)
class Machine:
    """Cores of the server and of everything else (None: one core, nothing is pinned), and granian's interpreter."""

    server: set[int] | None
    other: set[int] | None
    granian: str | None = None

    @property
    def both(self) -> set[int] | None:
        return None if self.server is None or self.other is None else self.server | self.other


def open_loop(work: Workload, machine: Machine) -> Iterator[Row]:
    """60 % of the measured capacity."""
    for name in ("plain", "retort"):
        with running(name, work.bundle, work.redis_url, machine.server) as server:
            capacity = work.closed(server, CONNECTIONS).answers_per_s
            report = work.open(server, OPEN_CONNECTIONS, OPEN_SHARE * capacity)
            yield work.row(report, server=name, capacity=round(capacity), rate=round(OPEN_SHARE * capacity))


def overload(work: Workload, machine: Machine) -> Iterator[Row]:
    """Three times the measured capacity: how long answers take, and what share is refused or degraded."""
    for name in ("plain", "retort"):
        with running(name, work.bundle, work.redis_url, machine.server) as server:
            full = work.closed(server, CONNECTIONS)
            rate = OVERLOAD_FACTOR * full.answers_per_s
            report = work.open(server, OVERLOAD_CONNECTIONS, rate)
            ended = len(report.latencies_s) + report.failures
            refused = report.statuses[429] + report.statuses[503]
            yield {
                **work.row(report, server=name, capacity=round(full.answers_per_s), rate=round(rate)),
                "full p99 ms": round(full.quantile_ms(0.99), 2),
                "ended/s": round(ended / report.seconds),
                "refused": round(refused / max(ended, 1), 3),
                "lost": report.lost,
                "p99 from sending ms": round(report.sent_quantile_ms(0.99), 2),
            }


def workers(work: Workload, machine: Machine) -> Iterator[Row]:
    """One and two workers on both cores; one, two and four on one core, as a simulation of four cores."""
    for cores, counts in (("both", (1, 2)), ("one", (1, 2, 4))):
        alone: Report | None = None
        for n_workers in counts:
            pinned = machine.both if cores == "both" else machine.server
            with running("retort", work.bundle, work.redis_url, pinned, workers=n_workers) as server:
                redis_before = _redis_cpu_s(work.redis_url)
                report = work.closed(server, CONNECTIONS * n_workers)
                redis_s = (_redis_cpu_s(work.redis_url) - redis_before) * work.measured_share
            alone = alone or report
            redis_us = redis_s * 1e6 / max(1, len(report.latencies_s))
            row = work.row(report, server="retort", cores=cores, workers=n_workers)
            yield {
                **row,
                "Redis CPU µs/answer": round(redis_us, 1),
                **_scaling(cores, n_workers, report, alone, redis_us),
            }


def nginx(work: Workload, machine: Machine) -> Iterator[Row]:
    """Directly and through nginx (on the generator's core), and with a second server behind it (on both cores)."""
    for through, n_servers in ((False, 1), (True, 1), (True, 2)):
        with ExitStack() as stack:
            cores = machine.server if n_servers == 1 else machine.both
            servers = [
                stack.enter_context(running("retort", work.bundle, work.redis_url, cores)) for _ in range(n_servers)
            ]
            front = stack.enter_context(nginx_before(servers, machine.other)) if through else servers[0]
            for connections in (1, CONNECTIONS):
                report, front_us = _through(work, front, servers, connections)
                row = work.row(report, server="nginx" if through else "direct", servers=n_servers)
                yield {**row, "connections": connections, "nginx CPU µs/answer": front_us if through else 0}


def granian(work: Workload, machine: Machine) -> Iterator[Row]:
    """Retort's application on uvicorn and on granian: closed loops, and 60 % of uvicorn's capacity."""
    rate = 0.0
    for name in ("retort", "granian"):
        with running(name, work.bundle, work.redis_url, machine.server, granian=machine.granian) as server:
            shown = "uvicorn" if name == "retort" else name
            for connections in (1, CONNECTIONS):
                report = work.closed(server, connections)
                yield work.row(report, server=shown, load=f"closed, {connections}")
                rate = rate or (OPEN_SHARE * report.answers_per_s if connections == CONNECTIONS else 0.0)
            yield work.row(work.open(server, OPEN_CONNECTIONS, rate), server=shown, load=f"open, {rate:.0f}/s")


# name → (function, servers that are started, measurements)
SCENARIOS = {
    "open_loop": (open_loop, 2, 4),
    "overload": (overload, 2, 4),
    "workers": (workers, 5, 5),
    "nginx": (nginx, 4, 6),
    "granian": (granian, 2, 6),
}


def duration_s(names: list[str], warm_up_s: float, seconds: float) -> float:
    """Estimate how long the scenarios take."""
    counts = [SCENARIOS[name][1:] for name in names]
    return 10 + sum(starts * START_S + runs * (warm_up_s + seconds) for starts, runs in counts)


def _scaling(cores: str, n_workers: int, report: Report, alone: Report, redis_us: float) -> Row:
    ratio = report.answers_per_s / alone.answers_per_s
    if cores == "both":
        return {"ratio to one": round(ratio, 2), "estimated scaling": ""}
    most = 1e6 / redis_us / alone.answers_per_s if redis_us else float("inf")
    kept = alone.cpu_us_per_answer / report.cpu_us_per_answer
    return {"ratio to one": round(ratio, 2), "estimated scaling": round(min(n_workers * kept, most), 2)}


def _through(work: Workload, front: Server, servers: list[Server], connections: int) -> tuple[Report, int]:
    """Measure a load at the front; the CPU time of an answer is that of the servers behind it."""
    own, behind = cpu_seconds(front.pid), sum(cpu_seconds(server.pid) for server in servers)
    report = work.closed(front, connections)
    front_s = (cpu_seconds(front.pid) - own) * work.measured_share
    report.server_cpu_s = (sum(cpu_seconds(server.pid) for server in servers) - behind) * work.measured_share
    return report, round(front_s * 1e6 / max(1, len(report.latencies_s)))


def _redis_cpu_s(url: str) -> float:
    with redis.Redis.from_url(url) as client:
        info = client.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])
