"""`python -m benchmarks.graph`: the graph alone on one thread: size of the bundle, cost of loading, time by batch size.

Times are CPU time, the least of many runs, so that they mean something on a machine that is shared. Each size is
measured in a process of its own, for memory is that of a process.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks import synthetic_data
from retort.shared.base.parent_death import parent_death_signal
from retort.shared.model.bundle import open_bundle

K = 10
BATCHES = (1, 4, 16)
_HEAD = ["items", "bundle MB", "load s", "RSS MiB", "most MiB", *(f"ms, batch of {n}" for n in BATCHES), "ms, filtered"]


def main() -> None:
    """One row for each size."""
    parser = argparse.ArgumentParser(description="The graph alone: size, memory, time.")
    parser.add_argument("--items", type=int, nargs="+", default=[12_000, 100_000, 1_000_000])
    parser.add_argument("--place", type=Path, help="keep the bundles here")
    parser.add_argument("--bundle", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bundle is not None:
        print("| " + " | ".join(_row(options.bundle)) + " |")
        return
    place = options.place or Path(tempfile.mkdtemp(prefix="retort-bench-"))
    print("| " + " | ".join(_HEAD) + " |\n|" + "---|" * len(_HEAD), flush=True)
    for n_items in options.items:
        bundle = synthetic_data.sealed_bundle(place, n_items)
        command = [sys.executable, "-m", "benchmarks.graph", "--bundle", str(bundle)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run(command, check=True, env=environment, preexec_fn=parent_death_signal())


def _row(path: Path) -> list[str]:
    size_mb = sum(file.stat().st_size for file in path.iterdir()) / 1e6
    started_s = time.process_time()
    bundle = open_bundle(path)
    scorer = bundle.scorer()
    load_s = time.process_time() - started_s
    n_items, random = bundle.manifest.n_items, np.random.default_rng(0)
    histories = [random.integers(1, n_items, synthetic_data.HISTORY) for _ in range(max(BATCHES))]
    bias = np.where(random.random((1, n_items + 1)) < 0.5, -np.inf, 0).astype(np.float32)
    runs = max(12, min(200, 20_000_000 // n_items))
    times = [least_ms(lambda n=n: scorer.top_k(histories[:n], K), runs // n + 5) for n in BATCHES]  # type: ignore[misc]
    times.append(least_ms(lambda: scorer.top_k(histories[:1], K, bias=bias), runs))
    most_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    first = [str(n_items), f"{size_mb:.0f}", f"{load_s:.1f}", str(resident_mib()), str(most_mib)]
    return [*first, *(f"{value:.2f}" for value in times)]


def least_ms(run: Callable[[], object], times: int) -> float:
    """Return the least CPU time of several calls."""
    least = float("inf")
    for _ in range(times):
        started_ns = time.process_time_ns()
        run()
        least = min(least, (time.process_time_ns() - started_ns) / 1e6)
    return least


def resident_mib() -> int:
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


if __name__ == "__main__":
    main()
