"""Training loop of all students and objectives."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from retort.offline.common.progress import Progress
from retort.offline.data.split import Split
from retort.offline.distillation._base import Objective
from retort.offline.evaluation.evaluate import EvaluationConfig
from retort.offline.evaluation.validate import DEFAULT_EVALUATION
from retort.offline.losses.divergence import diverged
from retort.offline.students._base import Student
from retort.offline.training.config import TrainingConfig
from retort.offline.training.epochs import EpochLog, save_checkpoint
from retort.offline.training.kept_memory import kept_memory
from retort.offline.training.training_run import TrainingRun
from retort.shared.base.errors import TrainingError


@dataclass(frozen=True)
class Fitted:
    """Result of a training; the student has the weights of `best_epoch`."""

    best_epoch: int
    log: list[EpochLog]
    validation_ranks: np.ndarray[Any, np.dtype[np.int64]] | None


def fit(
    student: Student,
    split: Split,
    objectives: Sequence[Objective],
    config: TrainingConfig,
    progress: Progress,
    work: Path,
    *,
    stop_after: int | None = None,
    evaluation: EvaluationConfig = DEFAULT_EVALUATION,
) -> Fitted:
    """Train `student` in place and leave it with its best weights.

    With validation cases in the split, the best epoch is the one with the highest validation NDCG@10, and training
    stops after `patience` evaluations without a better one. Without (protocol "refit"), `stop_after` epochs of the same
    schedule are run and the last weights are kept.

    Args:
        student: Student to train.
        split: Train histories, and validation cases if there are any.
        objectives: Distillation objectives.
        config: The recipe's `[training]`.
        progress: Receives progress and one line per epoch.
        work: Folder of the checkpoint.
        stop_after: Number of epochs, if not `config.epochs`.
        evaluation: How the test is evaluated; validation is evaluated the same way.

    Raises:
        DataError: No user has two train events.
        TrainingError: The training diverged. Its epoch is not in the checkpoint.
    """
    run = TrainingRun(student, split, objectives, config, evaluation=evaluation)
    with kept_memory():
        _train(run, progress, work, stop_after)
    return Fitted(best_epoch=run.best.best_epoch, log=run.log, validation_ranks=run.ranks())


def _train(run: TrainingRun, progress: Progress, work: Path, stop_after: int | None) -> None:
    """Start or resume the training, run its epochs and restore the best weights."""
    run.start(work)
    if stop_after is not None:
        run.limit_epochs(stop_after)
    try:
        while run.epoch < run.n_epochs and not run.finished:
            started = time.perf_counter()
            run.train_epoch(progress)
            try:
                run.check_finite()
                run.validate(is_last=run.epoch == run.n_epochs)
            except TrainingError as error:
                raise diverged(run.epoch, error, run.remedy()) from None
            run.keep_budget(time.perf_counter() - started)
            if run.processes.is_first:
                save_checkpoint(work, run.state())
            progress.update("epoch", run.epoch, run.n_epochs)
            progress.say(run.log[-1].describe())
        run.restore_best()
    finally:
        run.detach_objectives()
