"""An epoch of SASRec here and in RecTools, and one user's list of ten: the same histories, size and threads, one run.

    python -m venv PEER && PEER/bin/pip install torch==2.13.0 && PEER/bin/pip install 'rectools[torch]'
    python -m benchmarks.training --data DIR --peer PEER/bin/python

Both are 64 wide with two blocks and two heads, read 50 items, drop half, and take 128 users a step. Of the first epoch
nothing is told: it warms up. Losses: of one negative (RecTools' cheapest), of many, and over the whole catalogue.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch
from sqlalchemy import create_engine

from retort.offline.common.progress import Silent
from retort.offline.data.split import Split
from retort.offline.data.split_store import load_split
from retort.offline.export.onnx import export_student
from retort.offline.pipeline.build import make_pipeline
from retort.offline.pipeline.context import RunContext
from retort.offline.pipeline.train import new_student
from retort.offline.recipes.recipe import Recipe, load_recipe
from retort.offline.training.loop import fit
from retort.offline.training.mutual_distillation import only
from retort.shared.base.parent_death import parent_death_signal
from retort.shared.base.settings import LanguageModelSettings
from retort.shared.model.scoring import Scorer

_ASKED = 50
_PEER = Path(__file__).with_name("rectools_peer.py")


class Measured(NamedTuple):
    """The median epoch after the first, and the median answer to one user."""

    name: str
    loss: str
    epoch_s: float
    answer_ms: float


def ours(recipe: Recipe, split: Split, loss: str, negatives: int, epochs: int) -> Measured:
    training = recipe.training.model_copy(update={"loss": loss, "negatives": negatives, "epochs": epochs})
    student = new_student(recipe, len(split.item_index))
    with tempfile.TemporaryDirectory() as work:
        fitted = fit(student, split, [], training, Silent(), Path(work), stop_after=epochs)
    scorer = Scorer(export_student(student), n_items=len(split.item_index), max_length=recipe.student.max_length)
    answers_ms = []
    for user in np.flatnonzero(split.train.lengths)[:_ASKED]:
        started_s = time.perf_counter()
        scorer.top_k([split.train[int(user)]], 10)
        answers_ms.append((time.perf_counter() - started_s) * 1000)
    seconds = [entry.seconds for entry in fitted.log]
    return Measured("Retort", f"{loss}, {negatives}", _settled(seconds), statistics.median(answers_ms))


def peers(python: Path, file: Path, recipe: Recipe, loss: str, negatives: int, epochs: int, threads: int) -> Measured:
    size = recipe.student.model_dump()
    settings = {
        "n_factors": size["embedding_dim"],
        "n_blocks": size["n_blocks"],
        "n_heads": size["n_heads"],
        "session_max_len": size["max_length"],
        "dropout_rate": size["dropout"],
        "batch_size": recipe.training.batch_size,
        "loss": loss,
        "n_negatives": negatives,
        "epochs": epochs,
        "threads": threads,
        "asked": _ASKED,
    }
    done = subprocess.run(
        [python, _PEER, file],
        input=json.dumps(settings),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=parent_death_signal(),
    )
    if done.returncode:
        raise SystemExit(f"{python} could not run RecTools: {done.stderr.strip().splitlines()[-1]}")
    said: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return Measured("RecTools", f"{loss}, {negatives}", _settled(said["seconds"]), said["answer_ms"])


def _settled(seconds: list[float]) -> float:
    """Of the epochs after the first, which warms up; of one alone, that one."""
    return statistics.median(seconds[1:] or seconds)


def histories_of(recipe: Recipe, data: Path, out: Path, users: int) -> Split:
    """The first users of the data, split as the recipe says."""
    context = RunContext(recipe, data, create_engine("sqlite://"), LanguageModelSettings(), Silent())
    pipeline = make_pipeline(context, out)
    split = load_split(pipeline.ensure_path("split"))
    return only(split, np.arange(len(split.train)) < users)[0]


def write_for_peer(split: Split, file: Path) -> None:
    """The same train events in RecTools' columns; a day lies between two events of a user."""
    lengths = split.train.lengths
    day = np.concatenate([np.arange(length) for length in lengths])
    users = np.repeat(np.arange(len(lengths)), lengths)
    frame = pl.DataFrame({"user_id": users, "item_id": split.train.values, "day": day})
    when = pl.datetime(2026, 1, 1) + pl.duration(days="day")
    frame.select("user_id", "item_id", weight=1.0, datetime=when).write_csv(file)


def measured(args: argparse.Namespace) -> Iterator[Measured]:
    recipe = load_recipe(args.recipe, ["protocol=held"])
    with tempfile.TemporaryDirectory() as work:
        split = histories_of(recipe, args.data, Path(work), args.users)
        file = Path(work) / "interactions.csv"
        write_for_peer(split, file)
        for loss, theirs, negatives in (
            ("sampled_softmax", "sampled_softmax", 1),
            ("sampled_softmax", "sampled_softmax", args.negatives),
            ("full_softmax", "softmax", 1),
        ):
            yield ours(recipe, split, loss, negatives, args.epochs)
            if args.peer is not None:
                yield peers(args.peer, file, recipe, theirs, negatives, args.epochs, args.threads)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="raw files of the recipe")
    parser.add_argument("--recipe", default="beauty_sasrec_plain", help="a SASRec recipe")
    parser.add_argument("--peer", type=Path, help="an interpreter that has RecTools; unset: Retort alone")
    parser.add_argument("--users", type=int, default=5000, help="the first so many of the data")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--negatives", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print("| | loss, negatives | s an epoch | one user's ten, ms |\n|---|---|---|---|")
    for row in measured(args):
        print(f"| {row.name} | {row.loss} | {row.epoch_s:.2f} | {row.answer_ms:.2f} |", flush=True)


if __name__ == "__main__":
    main()
