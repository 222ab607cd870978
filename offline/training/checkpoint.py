"""A training that was interrupted goes on where it was: one file, replaced whole after each epoch."""

import os
from pathlib import Path
from typing import Any

import torch

CHECKPOINT = "checkpoint.pt"


def save_checkpoint(directory: Path, state: dict[str, Any]) -> None:
    """Write beside, then rename: a kill leaves the old checkpoint or the new one."""
    beside = directory / (CHECKPOINT + ".new")
    torch.save(state, beside)
    os.replace(beside, directory / CHECKPOINT)


def load_checkpoint(directory: Path) -> dict[str, Any] | None:
    """The last finished epoch, or None. Tensors and plain values only, nothing executable."""
    path = directory / CHECKPOINT
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, weights_only=True)
    return state
