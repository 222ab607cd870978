"""State between the epochs of a training: log records, early stopping and checkpoints."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from retort.offline.students._base import Student
from retort.shared.base.disk import explained_full_disk

CHECKPOINT = "checkpoint.pt"


@dataclass
class EpochLog:
    """Log record of an epoch. Losses are means over steps; objectives are logged unscaled.

    Attributes:
        share: Share of the steps that were taken; less than 1 where the time budget ended the epoch.
    """

    epoch: int
    seconds: float
    loss: float
    objectives: dict[str, float] = field(default_factory=dict)
    ndcg: float | None = None
    hit_rate: float | None = None
    share: float = 1.0

    def describe(self) -> str:
        """Return the line that a person reads."""
        cut = "" if self.share == 1 else f", {self.share:.0%} of its steps"
        parts = [f"epoch {self.epoch}{cut}", f"loss {self.loss:.4f}"]
        parts += [f"{name} {value:.4f}" for name, value in self.objectives.items()]
        if self.ndcg is not None:
            parts.append(f"validation NDCG@10 {self.ndcg:.4f}")
        return " · ".join([*parts, f"{self.seconds:.1f} s"])


class EarlyStopping:
    """The best weights by validation NDCG@10, and the number of evaluations since they were found."""

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.best_epoch = 0
        self.best_ndcg = -1.0
        self.best_weights: dict[str, Tensor] | None = None
        self.evaluations_since_best = 0

    @property
    def finished(self) -> bool:
        """Whether `patience` evaluations have brought nothing better."""
        return self.evaluations_since_best >= self.patience

    def update(self, epoch: int, validation_ndcg: float, student: Student) -> None:
        """Keep the student's weights if they are better than all before."""
        if validation_ndcg > self.best_ndcg:
            self.best_ndcg, self.best_epoch, self.evaluations_since_best = validation_ndcg, epoch, 0
            self.best_weights = student.folded_state()
        else:
            self.evaluations_since_best += 1

    def state(self) -> dict[str, Any]:
        """Return the part of a checkpoint that `resume` reads."""
        return {
            "best_epoch": self.best_epoch,
            "best_ndcg": self.best_ndcg,
            "best_weights": self.best_weights,
            "evaluations_since_best": self.evaluations_since_best,
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.best_epoch, self.best_ndcg = state["best_epoch"], state["best_ndcg"]
        self.best_weights = state["best_weights"]
        self.evaluations_since_best = state["evaluations_since_best"]


def save_checkpoint(directory: Path, state: dict[str, Any]) -> None:
    """Write to a temporary file and rename it; a kill leaves the old checkpoint or the new one.

    Raises:
        DiskFullError: The disk is full; the old checkpoint is kept.
    """
    temporary = directory / (CHECKPOINT + ".new")
    try:
        with explained_full_disk(directory):
            torch.save(state, temporary)
            os.replace(temporary, directory / CHECKPOINT)
    except BaseException:
        temporary.unlink(missing_ok=True)  # on a full disk it would take the space that was left
        raise


def load_checkpoint(directory: Path) -> dict[str, Any] | None:
    """Return the state after the last finished epoch, or None; only tensors and plain values are loaded."""
    path = directory / CHECKPOINT
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    return state
