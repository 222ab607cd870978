"""SASRec of one size in Retort and in peers: seconds an epoch, NDCG@10 against time, and the cost of objectives.

    python -m venv PEER && PEER/bin/pip install torch==2.13.0 && PEER/bin/pip install 'rectools[torch]'
    python -m benchmarks.training --data DIR [--recipe ml1m_sasrec_plain] --peers rectools=PEER/bin/python …

Peers: `rectools` (its SASRecModel and, as rectools-flat, its fast path FlatSASRecNet), `replay` and `recbole`, each an
interpreter that has it. All train on the newest window of each history, with the width, length, blocks, heads, dropout
and batch of the recipe, one thread. The settings: one negative for each target (the cheapest), 512 negatives, and the
whole catalogue. RecTools draws the 512 for each target, RePlay and Retort for each batch. RecBole learns one target a
row, so its epoch has a row a target, and it has no sampled softmax. RecTools' SASRecModel has a feed-forward as wide as
the items; with `--set student.expansion=1` Retort, RePlay and RecBole have it too.

Without a mode, each program trains for `--seconds`. An epoch is the time of a step times the steps of an epoch. The
bound is the time of an epoch's matrix products at the speed of this machine's own product of that shape.

`--curve`: equal quality. Each program trains with AdamW at one constant rate until validation NDCG@10 has not improved
for `--patience` evaluations, or for `--minutes`; the test is ranked with the best weights. Evaluation is not counted.
`--objectives`: seconds an epoch of Retort with each distillation objective, compared with none.

The expected duration is printed first; `--quick` has 800 users and takes seconds a training. The last line is JSON.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.training_data import SETTINGS, histories_of, write_for_peers
from benchmarks.training_objectives import OBJECTIVES_S, objective_rows
from benchmarks.training_picture import draw_curves
from benchmarks.training_programs import Measured, train_for_seconds, train_peer, train_to_convergence
from retort.offline.data.split import Split
from retort.offline.recipes.recipe import Recipe, load_recipe

_NOT_THERE = {("recbole", "512")}
QUICK_USERS = 800


def compared(args: argparse.Namespace, recipe: Recipe, split: Split, work: Path) -> Iterator[Measured]:
    """Train every program at every setting."""
    file = write_for_peers(split, work)
    for setting in args.settings:
        if args.curve:
            yield train_to_convergence(recipe, split, setting, args)
        else:
            yield train_for_seconds(recipe, split, setting, args.seconds)
        for name, python in args.pythons.items():
            if (name, setting) not in _NOT_THERE and (found := train_peer(python, name, file, recipe, setting, args)):
                yield found


def print_compared(rows: Iterator[Measured], args: argparse.Namespace) -> list[Measured]:
    """Print a row as soon as it is there; ratios are to Retort at the same setting."""
    after = "at its best" if args.curve else f"after {args.seconds:g} s"
    more = "best after, s | NDCG@10 a minute | Retort as good, s"
    print(f"| | setting | parameters | s an epoch | × | NDCG@10 {after} | bound, s | {more} |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    own: dict[str, Measured] = {}
    kept = []
    for row in rows:
        retort = own.setdefault(row.setting, row)
        bound = "" if row.bound_s is None else f"{row.bound_s:.2f}"
        best_s = a_minute = as_good_s = ""
        if row.curve:
            best = max(row.curve, key=lambda point: point[1])
            reached = [seconds for seconds, value in retort.curve if value >= best[1]]
            best_s, a_minute = f"{best[0]:.0f}", f"{row.ndcg / best[0] * 60:.4f}"
            as_good_s = f"{reached[0]:.0f}" if reached else "never"
        cells = [
            row.name,
            row.setting,
            f"{row.parameters:,}",
            f"{row.epoch_s:.2f}",
            f"{row.epoch_s / retort.epoch_s:.1f}",
        ]
        print(f"| {' | '.join([*cells, f'{row.ndcg:.4f}', bound, best_s, a_minute, as_good_s])} |", flush=True)
        kept.append(row)
    return kept


def main() -> None:
    """Run the selected mode."""
    args = _options()
    torch.set_num_threads(args.threads)
    recipe = load_recipe(args.recipe, ["protocol=held", *args.overrides])
    print(f"{args.recipe}: {_duration(args)}", flush=True)
    with tempfile.TemporaryDirectory() as work:
        split = histories_of(recipe, args.data, Path(work), args.users)
        stamp = {"recipe": args.recipe, "users": args.users or len(split.train), "at": time.strftime("%Y-%m-%d")}
        if args.objectives:
            print(json.dumps({**stamp, "objectives": list(objective_rows(recipe, split, quick=args.quick))}))
            return
        rows = print_compared(compared(args, recipe, split, Path(work)), args)
    budget = {"minutes": args.minutes, "learning_rate": args.learning_rate} if args.curve else {"seconds": args.seconds}
    if args.picture is not None:
        draw_curves(rows, args.picture)
    print(json.dumps({**stamp, **budget, "rows": [asdict(row) for row in rows]}))


def _duration(args: argparse.Namespace) -> str:
    if args.objectives:
        return f"about {OBJECTIVES_S[args.quick]} s on an idle core"
    trainings = len(args.settings) * (1 + len(args.pythons))
    each_s = args.minutes * 60 if args.curve else args.seconds
    most = "at most " if args.curve else "about "
    return f"{trainings} trainings, {most}{trainings * (each_s + (60 if args.curve else 20)) / 60:.0f} minutes"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="raw files of the recipe")
    parser.add_argument("--recipe", default="beauty_sasrec_plain", help="a SASRec recipe")
    parser.add_argument(
        "--set",
        dest="overrides",
        nargs="*",
        default=[],
        help="section.key=value of the recipe, such as student.dropout=0.2",
    )
    parser.add_argument("--peers", nargs="*", default=[], help="NAME=INTERPRETER; none: Retort alone")
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--users", default="all", help="only the first so many of the data, or all")
    parser.add_argument("--seconds", type=float, default=30, help="time of each training")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--curve", action="store_true", help="mode: NDCG@10 against time, until validation stops")
    parser.add_argument("--minutes", type=float, default=5, help="--curve: most minutes of each training")
    parser.add_argument("--every-s", type=float, default=10, help="--curve: seconds of training between evaluations")
    parser.add_argument("--patience", type=int, default=5, help="--curve: evaluations without a better one")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="--curve: of all programs, constant")
    parser.add_argument("--picture", type=Path, help="--curve: PNG or SVG of the curves")
    parser.add_argument("--objectives", action="store_true", help="mode: cost of each distillation objective")
    parser.add_argument("--quick", action="store_true", help="800 users, a few seconds a training")
    args = parser.parse_args()
    args.users = None if args.users == "all" else int(args.users)
    args.pythons = dict(item.split("=", 1) for item in args.peers)
    if "rectools" in args.pythons:
        args.pythons["rectools-flat"] = args.pythons["rectools"]
    if args.quick:
        args.users, args.seconds, args.minutes, args.every_s = args.users or QUICK_USERS, 3.0, 0.1, 2.0
    return args


if __name__ == "__main__":
    main()
