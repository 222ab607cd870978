"""Benchmark of serving (`make bench-serve`), compared with a plain FastAPI + redis-py + ONNX Runtime endpoint.

The server is pinned to one core, Redis and the load generator to another. Every twentieth response is compared with the
graph's own result; a response of the fallback chain counts as degraded. The runs are closed loops with several numbers
of connections and open loops at fixed rates, for three sizes of catalogue; start-up time and memory are measured too.
`ARGS=--quick` takes a minute.

Scenarios run instead of this table, with 12,000 items: `--open-loop` (60 % of the measured capacity), `--overload`
(three times the capacity), `--workers` (one, two, and four by simulation), `--nginx` (in front of one and two servers)
and `--granian PYTHON` (an interpreter of this Python version that has granian). With `--quick` each measurement takes
4 s. The expected duration is printed first; the last line is JSON.
"""

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import synthetic_data
from benchmarks.load_report import Report
from benchmarks.serve_process import NGINX, Server, memory_mib, running
from benchmarks.serve_scenarios import OPEN_CONNECTIONS, SCENARIOS, START_S, Machine, duration_s
from benchmarks.serve_workload import Workload, load
from retort.offline.local.local_redis import private_redis

SERVER_CORE, OTHER_CORE = 0, 1
# Open loops are run for the size whose rates are guaranteed; with a million items a response takes 2 ms or more.
CLOSED = {12_000: (1, 16, 64), 100_000: (1, 64), 1_000_000: (1, 16)}
OPEN = {12_000: (500, 1_000, 2_000)}


def main() -> None:
    """Run the selected measurements and print tables."""
    options = _options()
    machine = _machine(options.granian)
    chosen = [name for name in SCENARIOS if getattr(options, name)]
    if not options.json:
        print(
            f"About {_duration_s(chosen, options):.0f} s: {', '.join(chosen) or 'closed and open loops'}.", flush=True
        )
    directory = options.directory or Path(tempfile.mkdtemp(prefix="retort-bench-"))
    bundles = {n: synthetic_data.sealed_bundle(directory, n) for n in options.items}
    if machine.other is not None:
        os.sched_setaffinity(0, machine.other)
    rows: dict[str, list[dict[str, object]]] = {}
    scratch = Path(tempfile.mkdtemp(prefix="retort-bench-redis-"))
    try:
        for n_items, bundle in bundles.items():
            # One Redis for each size, because the users of one size have items of that catalogue.
            with private_redis(scratch / str(n_items), persist=False) as service:
                work = load(bundle, n_items, service.url, options.warm_up_s, options.seconds)
                for name in chosen or ["loads"]:
                    found = SCENARIOS[name][0](work, machine) if chosen else _loads(work, machine, options)
                    rows.setdefault(name, []).extend(found)
                    if chosen and not options.json:
                        _print(rows[name], name)
    finally:
        shutil.rmtree(scratch)
        if options.directory is None:
            shutil.rmtree(directory)
    if not chosen and not options.json:
        _print(rows["loads"])
    print(json.dumps(rows if chosen else rows["loads"]))


def _machine(granian: str | None) -> Machine:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == 1:
        return Machine(None, None, granian)
    return Machine({cores[SERVER_CORE]}, {cores[OTHER_CORE]}, granian)


def _duration_s(chosen: list[str], options: argparse.Namespace) -> float:
    """Estimate how long the measurements take; a large bundle is made once, in about 20 s a million items."""
    if chosen:
        return duration_s(chosen, options.warm_up_s, options.seconds)
    runs = sum(len(loads) for n_items in options.items for loads in _loads_of(n_items, options))
    each_s = runs * (options.warm_up_s + options.seconds) + len(options.items) * START_S
    return len(options.servers) * each_s + sum(options.items) / 50_000


def _loads_of(n_items: int, options: argparse.Namespace) -> tuple[Sequence[int], Sequence[int]]:
    """Return the numbers of connections of the closed loops, and the rates of the open ones."""
    rates = OPEN.get(n_items, ()) if options.rates is None else options.rates
    return options.connections or CLOSED.get(n_items, (1, 16)), rates


def _loads(work: Workload, machine: Machine, options: argparse.Namespace) -> Iterator[dict[str, object]]:
    closed, rates = _loads_of(work.n_items, options)
    for name in options.servers:
        with running(name, work.bundle, work.redis_url, machine.server) as server:
            for connections in closed:
                yield _row(server, work, f"closed, {connections}", work.closed(server, connections))
            for rate in rates:
                report = work.open(server, options.open_connections, rate)
                yield _row(server, work, f"open, {rate}/s", report)


def _row(server: Server, work: Workload, name: str, report: Report) -> dict[str, object]:
    resident, proportional = memory_mib(server.pid)
    return {
        **work.row(report, server=server.name, items=work.n_items, load=name),
        "ready s": round(server.ready_s, 2),
        "RSS MiB": resident,
        "PSS MiB": proportional,
    }


def _print(rows: Sequence[dict[str, object]], title: str | None = None) -> None:
    if title is not None:
        print(f"\n{title}")
    names = list(rows[0])
    print("| " + " | ".join(names) + " |")
    print("|" + "---|" * len(names))
    for row in rows:
        print("| " + " | ".join(str(row[name]) for name in names) + " |", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one size and few loads, 4 s each")
    parser.add_argument("--items", type=int, nargs="+", help="catalogue sizes")
    parser.add_argument("--connections", type=int, nargs="*", help="closed loops: numbers of connections")
    parser.add_argument("--rates", type=int, nargs="*", help="open loops: requests a second")
    parser.add_argument("--open-connections", type=int, default=OPEN_CONNECTIONS)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--warm-up-s", type=float)
    parser.add_argument("--servers", nargs="+", default=["plain", "retort"], choices=["plain", "retort"])
    parser.add_argument("--place", dest="directory", type=Path, help="keep the bundles in this directory")
    parser.add_argument("--json", action="store_true", help="no tables, only the JSON line")
    parser.add_argument("--open-loop", action="store_true", help="scenario: 60 %% of the measured capacity")
    parser.add_argument("--overload", action="store_true", help="scenario: three times the measured capacity")
    parser.add_argument("--workers", action="store_true", help="scenario: one, two and four workers")
    parser.add_argument("--nginx", action="store_true", help="scenario: through nginx")
    parser.add_argument("--granian", metavar="PYTHON", help="scenario: granian, which this interpreter has")
    options = parser.parse_args()
    if options.nginx and NGINX is None:
        parser.error("--nginx requires an nginx binary on PATH")
    scenario = any(getattr(options, name) for name in SCENARIOS)
    quick = {"items": [12_000], "connections": [1, 64], "rates": [2_000], "seconds": 4.0, "warm_up_s": 1.0}
    full = {"items": [12_000] if scenario else list(CLOSED), "seconds": 10.0, "warm_up_s": 2.0}
    for name, value in (quick if options.quick else full).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


if __name__ == "__main__":
    main()
