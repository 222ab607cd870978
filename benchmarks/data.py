"""Time and memory of the data and split steps for 1, 10 and 100 million synthetic interactions.

    python -m benchmarks.data [--sizes 1 10 100] [--work DIR] [--picture FILE.png]

Events are in the order of time, in Parquet files of two million; users have about 100 events each, items follow Zipf's
law. `[data] k_core = 5` and leave-one-out, as in most recipes. Each size runs in a process of its own. Memory is the
largest resident set of that process, memory-mapped pages included. 100 million take about twelve
minutes on an idle core and 6 GB of disk; `--quick` is `--sizes 0.1 1`. The last line is JSON.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from retort.shared.base.parent_death import parent_death_signal

FILE_EVENTS = 2_000_000
_ITEMS = 100_000


def generate(directory: Path, n_events: int) -> None:
    """Write a log of `n_events` events to Parquet files."""
    directory.mkdir(parents=True, exist_ok=True)
    n_users = max(n_events // 100, 10)
    random = np.random.default_rng(0)
    popularity = np.cumsum(1 / np.arange(1, _ITEMS + 1) ** 0.8)
    for number, first in enumerate(range(0, n_events, FILE_EVENTS)):
        size = min(FILE_EVENTS, n_events - first)
        users = random.integers(0, n_users, size)
        items = np.searchsorted(popularity, random.random(size) * popularity[-1])
        times = 1_600_000_000 + np.arange(first, first + size) // 4
        pl.DataFrame({"user": users, "item": items, "time": times}).select(
            user_id=pl.format("user-{}", "user"), item_id=pl.format("item-{}", "item"), timestamp="time"
        ).write_parquet(directory / f"part-{number:04}.parquet")


def prepare(raw: Path, work: Path) -> dict[str, float]:
    """Clean, filter and split the log; returns the seconds of each step."""
    from retort.offline.common.progress import Silent
    from retort.offline.data.load import DataConfig, load_data
    from retort.offline.data.split import SplitConfig, make_split
    from retort.offline.data.split_store import save_split
    from retort.offline.data.tables import load_saved, save_loaded

    work.mkdir(parents=True)
    started = time.perf_counter()
    config = DataConfig(options={"interactions": raw.name, "timestamp": "timestamp"}, k_core=5)
    save_loaded(load_data(config, raw.parent, Silent(), work), work)
    loaded = time.perf_counter()
    tables = load_saved(work)
    save_split(make_split(tables.interactions, SplitConfig(max_history=200), "held", work), work)
    return {
        "data_s": round(loaded - started, 2),
        "split_s": round(time.perf_counter() - loaded, 2),
        "events": tables.report.interactions,
    }


def measure(millions: float, work: Path) -> dict[str, Any]:
    """Measure one size in a process of its own."""
    raw, out = work / "log", work / "out"
    generate(raw, round(millions * 1e6))
    command = [sys.executable, "-m", "benchmarks.data", "--child", str(raw), str(out)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=parent_death_signal())
    assert child.stdout is not None
    lines = child.stdout.read().strip().splitlines()
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"the measurement of {millions:g} million events failed")
    found = {"millions": millions, **json.loads(lines[-1]), "peak_mib": usage.ru_maxrss // 1024}
    found |= {"cpu_s": round(usage.ru_utime + usage.ru_stime, 1)}
    found["raw_mib"], found["written_mib"] = (_mib(path) for path in (raw, out))
    shutil.rmtree(raw)
    shutil.rmtree(out)
    return found


def draw(rows: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Draw processor time and memory against events, with a line that is proportional to the first size."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    millions = [row["millions"] for row in rows]
    for place, (key, label) in enumerate((("cpu_s", "processor time, s"), ("peak_mib", "peak memory, MiB")), 1):
        axes = figure.add_subplot(1, 2, place)
        values = [row[key] for row in rows]
        axes.loglog(millions, values, "o-", label="measured")
        axes.loglog(millions, [values[0] * size / millions[0] for size in millions], ":", label="proportional")
        axes.set(xlabel="events, million", ylabel=label)
        axes.legend()
    figure.savefig(file, dpi=120)


def _mib(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) >> 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=float, nargs="+", default=[1, 10, 100], help="millions of events")
    parser.add_argument("--work", type=Path, help="directory for the data, 6 GB at 100 million; unset: a temporary one")
    parser.add_argument("--picture", type=Path, help="PNG or SVG of time and memory against the size")
    parser.add_argument("--quick", action="store_true", help="0.1 and 1 million")
    parser.add_argument("--child", type=Path, nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(prepare(*args.child)))
        return
    sizes = [0.1, 1] if args.quick else args.sizes
    print(f"About {5 + 7 * sum(sizes):.0f} s on an idle core.", flush=True)
    print("| events, million | data step, s | split step, s | CPU, s | peak memory, MiB | raw, MiB | written, MiB |")
    print("|---|---|---|---|---|---|---|")
    rows = []
    with tempfile.TemporaryDirectory(dir=args.work) as work:
        for millions in sizes:
            row = measure(millions, Path(work))
            rows.append(row)
            names = ("millions", "data_s", "split_s", "cpu_s", "peak_mib", "raw_mib", "written_mib")
            print("| " + " | ".join(f"{row[name]:g}" for name in names) + " |", flush=True)
    if args.picture is not None:
        draw(rows, args.picture)
    print(json.dumps({"data": rows}))


if __name__ == "__main__":
    main()
