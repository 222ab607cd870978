"""One training of the training benchmark: Retort's, or a peer's by its own interpreter."""

import argparse
import copy
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.training_bound import bound_s
from benchmarks.training_curve import Curve
from benchmarks.training_data import SETTINGS, test_cases, training_of, validation_cases
from retort.offline.common.progress import Silent
from retort.offline.data.split import Cases, Split
from retort.offline.evaluation.metrics import ndcg
from retort.offline.evaluation.validate import validation_ranks
from retort.offline.pipeline.train import new_student
from retort.offline.recipes.recipe import Recipe
from retort.offline.students._base import Student
from retort.offline.training.config import TrainingConfig
from retort.offline.training.kept_memory import kept_memory
from retort.offline.training.loop import fit
from retort.offline.training.training_run import TrainingRun
from retort.shared.base.parent_death import parent_death_signal

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Measured:
    """Result of one training.

    Attributes:
        name: Program.
        setting: A key of `SETTINGS`.
        epoch_s: Seconds an epoch.
        ndcg: NDCG@10 of the test, after the given time or with the best weights.
        parameters: Number of trained values.
        bound_s: Seconds of an epoch's matrix products; None: not computed.
        curve: Seconds of training and validation NDCG@10; empty without `--curve`.
    """

    name: str
    setting: str
    epoch_s: float
    ndcg: float
    parameters: int
    bound_s: float | None = None
    curve: Sequence[tuple[float, float]] = ()


def train_for_seconds(recipe: Recipe, split: Split, setting: str, seconds: float) -> Measured:
    """Train Retort's student for the time; a time budget sets the schedule after the first epoch."""
    training = training_of(recipe, setting, max_minutes=seconds / 60)
    student = new_student(recipe, len(split.item_index))
    with tempfile.TemporaryDirectory() as work:
        fitted = fit(student, replace(split, validation=None), [], training, Silent(), Path(work))
    epoch_s = statistics.median([entry.seconds for entry in fitted.log][1:] or [fitted.log[0].seconds])
    return _measured(recipe, split, setting, student, training, epoch_s)


def train_to_convergence(recipe: Recipe, split: Split, setting: str, args: argparse.Namespace) -> Measured:
    """Train Retort's student until its validation stops improving; evaluations come after whole epochs."""
    training = training_of(recipe, setting, rate="constant", learning_rate=args.learning_rate)
    student = new_student(recipe, len(split.item_index))
    validation = validation_cases(split)
    curve = Curve(args.every_s, args.patience, args.minutes * 60)
    run = TrainingRun(student, replace(split, validation=None), [], training, evaluation=recipe.evaluation)
    seconds, best = 0.0, copy.deepcopy(student.state_dict())
    with tempfile.TemporaryDirectory() as work, kept_memory():
        run.start(Path(work))
        while not curve.has_ended(seconds):
            started = time.perf_counter()
            run.train_epoch(Silent())
            seconds += time.perf_counter() - started
            if curve.is_due(seconds) and curve.add(seconds, _ndcg(student, validation, recipe)):
                best = copy.deepcopy(student.state_dict())
    student.load_state_dict(best)
    return _measured(recipe, split, setting, student, training, seconds / run.epoch, curve.points)


def train_peer(
    python: str, name: str, file: Path, recipe: Recipe, setting: str, args: argparse.Namespace
) -> Measured | None:
    """Run a peer's half; None if it fails, with the reason on standard output."""
    settings = {
        "size": recipe.student.model_dump(),
        "batch_size": recipe.training.batch_size,
        "negatives": SETTINGS[setting][1],
        "learning_rate": args.learning_rate,
        "seconds": args.minutes * 60 if args.curve else args.seconds,
        "every_s": args.every_s if args.curve else None,
        "patience": args.patience,
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
    epoch_s = found["step_ms"] * found["steps"] / 1000
    curve = [(seconds, value) for seconds, value in found["curve"]]
    return Measured(name, setting, epoch_s, found["ndcg"], found["parameters"], None, curve)


def _measured(
    recipe: Recipe,
    split: Split,
    setting: str,
    student: Student,
    training: TrainingConfig,
    epoch_s: float,
    curve: Sequence[tuple[float, float]] = (),
) -> Measured:
    found, bound = _ndcg(student, test_cases(split), recipe), bound_s(student, split, training)
    n_parameters = sum(parameter.numel() for parameter in student.parameters())
    return Measured("retort", setting, epoch_s, found, n_parameters, bound, curve)


def _ndcg(student: Student, cases: Cases, recipe: Recipe) -> float:
    return float(ndcg(validation_ranks(student, cases, recipe.evaluation), 10).mean())
