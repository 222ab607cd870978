"""`make bench-retrieval`: the best ten of N items by inner product, on one thread, compared with search libraries.

Every searcher has the same item vectors and states, without a sequence model. The graphs hide 50 items in a request;
the libraries hide none. Approximate indexes are searched with the least effort that reaches the wanted recall. Times
are first deciles of CPU time for single requests, so that they mean something on a shared machine. Each size runs in a
process of its own, because memory is per process.

The vectors are hard for codes, as those of trained students are: directions have nearly equal strength, items form
groups, and norms differ. Missing libraries are left out: `pip install retort-recsys[bench]`.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.graph import resident_mib
from benchmarks.retrieval_peers import PEERS
from retort.shared.base.parent_death import parent_death_signal

K = 10
HIDDEN = 50
SIZES = (12_000, 100_000, 1_000_000)
REQUESTS = 200
ANN_LIMIT = 100_000
LEAST_RECALL = 0.999

FloatArray = NDArray[np.float32]


def main() -> None:
    """One row for each size, then one JSON object for each."""
    options = _options()
    if options.one:
        print(json.dumps(_measure(options.items[0], options.dims[0], options)))
        return
    rows = []
    for n_items in options.items:
        for dim in options.dims:
            command = [sys.executable, "-m", "benchmarks.retrieval", "--one", "--items", str(n_items)]
            command += ["--dims", str(dim), "--ann-limit", str(options.ann_limit), "--requests", str(options.requests)]
            command += ["--flat-limit", str(options.flat_limit)]
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            done = subprocess.run(
                command, check=True, env=environment, stdout=subprocess.PIPE, preexec_fn=parent_death_signal()
            )
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            _print_row(rows[-1])
    for row in rows:
        print(json.dumps(row))


def _print_row(row: dict[str, Any]) -> None:
    times = ", ".join(f"{name[:-3]} {value} ms" for name, value in row.items() if name.endswith("_ms"))
    print(f"{row['items']:,} items of {row['dim']}: {times}", flush=True)


def _measure(n_items: int, dim: int, options: argparse.Namespace) -> dict[str, Any]:
    table_ND, states_SD = vectors(n_items, dim), states(options.requests, n_items, dim)
    row: dict[str, Any] = {"items": n_items, "dim": dim}
    row |= _graphs(table_ND, states_SD, row)
    exact_lists = _true_top(table_ND, states_SD) if n_items <= options.flat_limit else []
    for name, peer in PEERS.items():
        if n_items > (options.ann_limit if peer.approximate else options.flat_limit):
            continue
        for effort in peer.efforts:
            search = peer.build(table_ND, effort)
            if search is None:
                break
            found = [search(state_D, K) for state_D in states_SD]
            recall = _overlap(found, exact_lists)
            row[f"{name}_ms"] = _decile_ms(lambda n, search=search: search(states_SD[n], K), len(states_SD))  # type: ignore[misc]
            row[f"{name}_recall@10"] = round(recall, 4)
            if recall >= LEAST_RECALL:
                break
    return row


def _graphs(table_ND: FloatArray, states_SD: FloatArray, row: dict[str, Any]) -> dict[str, Any]:
    """Measure the naive graph, the exact one and the one in two stages."""
    from benchmarks.retrieval_graphs import exact_scorer, naive_scorer, two_stage_scorer

    random = np.random.default_rng(3)
    hidden = [[random.integers(1, len(table_ND), HIDDEN)] for _ in states_SD]

    def run(scorer: Any, n: int) -> NDArray[np.int64]:
        found: NDArray[np.int64] = scorer.top_k([np.array([n + 1])], K, hidden=hidden[n]).row(0)[0]
        return found

    before_mib = resident_mib()
    if table_ND.nbytes < 1 << 30:
        naive = naive_scorer(table_ND, states_SD)
        row["naive_onnx_ms"] = _decile_ms(lambda n: run(naive, n), len(states_SD))
        del naive
    exact = exact_scorer(table_ND, states_SD)
    answers = [run(exact, n) for n in range(len(states_SD))]
    row["exact_ms"] = _decile_ms(lambda n: run(exact, n), len(states_SD))
    n_bytes = dim_half(table_ND.shape[1])
    two_stage, coding_s = two_stage_scorer(table_ND, states_SD, n_bytes)
    agreement = _overlap([run(two_stage, n) for n in range(len(states_SD))], answers)
    if agreement < LEAST_RECALL:
        row |= {"half_ms": _decile_ms(lambda n: run(two_stage, n), len(states_SD)), "half_agreement@10": agreement}
        n_bytes = table_ND.shape[1]
        two_stage, coding_s = two_stage_scorer(table_ND, states_SD, n_bytes)
        agreement = _overlap([run(two_stage, n) for n in range(len(states_SD))], answers)
    row["two_stage_ms"] = _decile_ms(lambda n: run(two_stage, n), len(states_SD))
    row |= {"agreement@10": round(agreement, 5), "code_bytes": n_bytes, "coding_s": round(coding_s, 1)}
    bias = np.where(random.random((1, len(table_ND))) < 0.5, -np.inf, 0).astype(np.float32)

    def filtered(scorer: Any) -> float:
        return _decile_ms(
            lambda n: scorer.top_k([np.array([n + 1])], K, hidden=hidden[n], bias=bias), min(50, len(states_SD))
        )

    row |= {"exact_filtered_ms": filtered(exact), "two_stage_filtered_ms": filtered(two_stage)}
    row["speedup"] = round(row["exact_ms"] / row["two_stage_ms"], 2)
    row["graphs_mib"] = resident_mib() - before_mib
    return row


def dim_half(dim: int) -> int:
    """Half the directions, in the kernel's steps of four bytes."""
    return -4 * (-dim // 8)


def vectors(n_items: int, dim: int) -> FloatArray:
    """Return item vectors (N, D) in groups, with norms that fall with popularity; row 0 is PAD."""
    random = np.random.default_rng(0)
    strength_D = np.linspace(1.2, 0.8, dim, dtype=np.float32)
    groups_GD = random.standard_normal((max(16, int(n_items**0.5)), dim), dtype=np.float32)
    table_ND = np.empty((n_items + 1, dim), np.float32)
    for start in range(0, n_items + 1, 1 << 18):
        part = table_ND[start : start + (1 << 18)]
        part[:] = random.standard_normal(part.shape, dtype=np.float32)
        part += 0.8 * groups_GD[random.integers(0, len(groups_GD), len(part))]
        part *= strength_D * np.exp(0.2 * random.standard_normal((len(part), 1), dtype=np.float32))
    table_ND[0] = 0
    return table_ND


def states(count: int, n_items: int, dim: int) -> FloatArray:
    """Return states (S, D): what a user has in common with a group, and noise."""
    random = np.random.default_rng(1)
    groups_GD = np.random.default_rng(0).standard_normal((max(16, int(n_items**0.5)), dim), dtype=np.float32)
    chosen = groups_GD[random.integers(0, len(groups_GD), count)]
    return np.ascontiguousarray(chosen + random.standard_normal((count, dim), dtype=np.float32))


def _true_top(table_ND: FloatArray, states_SD: FloatArray) -> list[NDArray[np.int64]]:
    return [np.argsort(-(table_ND[1:] @ state_D), kind="stable")[:K] + 1 for state_D in states_SD]


def _overlap(found: list[NDArray[Any]], true: list[NDArray[Any]]) -> float:
    return float(np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(found, true, strict=True)]))


def _decile_ms(run: Callable[[int], object], count: int) -> float:
    return round(float(np.quantile(list(_times_ms(run, count)), 0.1)), 3)


def _times_ms(run: Callable[[int], object], count: int) -> Iterator[float]:
    for n in range(count):
        started_ns = time.process_time_ns()
        run(n)
        yield (time.process_time_ns() - started_ns) / 1e6


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Benchmark retrieval against search libraries.")
    parser.add_argument("--items", type=int, nargs="+", default=list(SIZES), help="also: 5000000 10000000 (6 GB)")
    parser.add_argument("--dims", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--ann-limit", type=int, default=ANN_LIMIT, help="largest size for approximate indexes")
    parser.add_argument("--flat-limit", type=int, default=5_000_000, help="largest size for numpy and flat indexes")
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
