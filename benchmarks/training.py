"""SASRec of one size in Retort and in peers: seconds an epoch, and NDCG@10 after the same time of training.

    python -m venv PEER && PEER/bin/pip install torch==2.13.0 && PEER/bin/pip install 'rectools[torch]'
    python -m benchmarks.training --data DIR [--recipe ml1m_sasrec_plain] --peers rectools=PEER/bin/python …

Peers: `rectools` (its SASRecModel and, as rectools-flat, its fast path FlatSASRecNet), `replay` and `recbole`, each an
interpreter that has it. All train on the newest window of each history, with the size and the batch of the recipe, one
thread, for `--seconds`. An epoch is the time of a step times the steps of an epoch. The settings: one negative (the
peers' cheapest), 512, and the whole catalogue. RecBole learns one target a row, so its epoch has a row a target, and it
has no sampled softmax. The bound is the time of an epoch's matrix products at the speed of this machine's own bfloat16
product of that shape. The last line is JSON.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from sqlalchemy import create_engine

from benchmarks.training_bound import bound_s
from retort.offline.common.progress import Silent
from retort.offline.data.split import Cases, Split
from retort.offline.data.split_store import load_split
from retort.offline.evaluation.metrics import ndcg
from retort.offline.evaluation.validate import validation_ranks
from retort.offline.pipeline.build import make_pipeline
from retort.offline.pipeline.context import RunContext
from retort.offline.pipeline.train import new_student
from retort.offline.recipes.recipe import Recipe, load_recipe
from retort.offline.training.loop import fit
from retort.offline.training.mutual_distillation import only
from retort.shared.base.parent_death import parent_death_signal
from retort.shared.base.settings import LanguageModelSettings

_TESTED = 4000
_HERE = Path(__file__).parent
SETTINGS = {"cheapest": ("sampled_softmax", 1), "512": ("sampled_softmax", 512), "full": ("full_softmax", None)}
_NOT_THERE = {("recbole", "512")}


@dataclass(frozen=True)
class Measured:
    """Seconds an epoch, and NDCG@10 after the given time of training."""

    name: str
    setting: str
    epoch_s: float
    ndcg: float
    bound_s: float | None = None


def ours(recipe: Recipe, split: Split, test: Cases, setting: str, seconds: float) -> Measured:
    """Train for the time; a time budget sets the schedule after the first epoch."""
    loss, negatives = SETTINGS[setting]
    update = {
        "loss": loss,
        "negatives": negatives or 1,
        "epochs": 1000,
        "max_minutes": seconds / 60,
        "every_window": False,
    }
    training = recipe.training.model_copy(update=update)
    student = new_student(recipe, len(split.item_index))
    with tempfile.TemporaryDirectory() as work:
        fitted = fit(student, replace(split, validation=None), [], training, Silent(), Path(work))
    epoch_s = statistics.median([entry.seconds for entry in fitted.log][1:] or [fitted.log[0].seconds])
    found = float(ndcg(validation_ranks(student, test, recipe.evaluation), 10).mean())
    return Measured("retort", setting, epoch_s, found, bound_s(student, split, training))


def peer(python: str, name: str, file: Path, recipe: Recipe, setting: str, args: argparse.Namespace) -> Measured | None:
    """Run a peer's half; None if it fails, with the reason on standard error."""
    settings = {
        "size": recipe.student.model_dump(),
        "batch_size": recipe.training.batch_size,
        "negatives": SETTINGS[setting][1],
        "learning_rate": 1e-3,
        "seconds": args.seconds,
        "threads": args.threads,
    }
    script = "rectools_peer.py" if name == "rectools" else "training_peer.py"
    done = subprocess.run(
        [python, _HERE / script, name, file],
        input=json.dumps(settings),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=parent_death_signal(),
    )
    if done.returncode:
        print(f"{name}, {setting}: {done.stderr.strip().splitlines()[-1]}", flush=True)
        return None
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return Measured(name, setting, found["step_ms"] * found["steps"] / 1000, found["ndcg"])


def histories_of(recipe: Recipe, data: Path, out: Path, users: int | None = None) -> Split:
    """The data, or their first users, split as the recipe says."""
    context = RunContext(recipe, data, create_engine("sqlite://"), LanguageModelSettings(), Silent())
    split = load_split(make_pipeline(context, out).ensure_path("split"))
    return split if users is None else only(split, np.arange(len(split.train)) < users)[0]


def some_of(cases: Cases) -> Cases:
    """The test cases that are ranked: the same for all."""
    rows = np.random.default_rng(0).permutation(len(cases))[:_TESTED]
    return Cases(cases.users[rows], cases.histories.take(rows), cases.targets[rows])


def write_for_peers(split: Split, test: Cases, directory: Path) -> Path:
    """The same histories as arrays, and in RecTools' columns (a day lies between two events of a user)."""
    train = split.train
    np.savez(
        directory / "data.npz",
        values=train.values,
        offsets=train.offsets,
        test_values=test.histories.values,
        test_offsets=test.histories.offsets,
        test_targets=test.targets,
        test_users=test.users,
        n_items=len(split.item_index),
    )
    day = np.concatenate([np.arange(length) for length in train.lengths])
    users = np.repeat(np.arange(len(train)), train.lengths)
    frame = pl.DataFrame({"user_id": users, "item_id": train.values, "day": day})
    when = pl.datetime(2026, 1, 1) + pl.duration(days="day")
    frame.select("user_id", "item_id", weight=1.0, datetime=when).write_csv(directory / "data.csv")
    return directory / "data.npz"


def measured(args: argparse.Namespace) -> Iterator[Measured]:
    recipe = load_recipe(args.recipe, ["protocol=held"])
    pythons = dict(item.split("=", 1) for item in args.peers)
    if "rectools" in pythons:
        pythons["rectools-flat"] = pythons["rectools"]
    with tempfile.TemporaryDirectory() as work:
        split = histories_of(recipe, args.data, Path(work), args.users)
        test = some_of(split.test)
        file = write_for_peers(split, test, Path(work))
        for setting in args.settings:
            yield ours(recipe, split, test, setting, args.seconds)
            for name, python in pythons.items():
                if (name, setting) not in _NOT_THERE and (found := peer(python, name, file, recipe, setting, args)):
                    yield found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="raw files of the recipe")
    parser.add_argument("--recipe", default="beauty_sasrec_plain", help="a SASRec recipe")
    parser.add_argument("--peers", nargs="*", default=[], help="NAME=INTERPRETER; none: Retort alone")
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--users", type=int, help="only the first so many of the data")
    parser.add_argument("--seconds", type=float, default=30, help="time of each training")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"| | setting | s an epoch | × | NDCG@10 after {args.seconds:g} s | bound, s |\n|---|---|---|---|---|---|")
    rows: list[Measured] = []
    own: dict[str, float] = {}
    for row in measured(args):
        rows.append(row)
        own.setdefault(row.setting, row.epoch_s)
        bound = "" if row.bound_s is None else f"{row.bound_s:.2f}"
        ratio = row.epoch_s / own[row.setting]
        print(
            f"| {row.name} | {row.setting} | {row.epoch_s:.2f} | {ratio:.1f} | {row.ndcg:.4f} | {bound} |", flush=True
        )
    stamp = {"recipe": args.recipe, "seconds": args.seconds, "at": time.strftime("%Y-%m-%d")}
    print(json.dumps({**stamp, "rows": [asdict(row) for row in rows]}))


if __name__ == "__main__":
    main()
