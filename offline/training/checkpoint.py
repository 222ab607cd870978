"""Checkpoints of a training: one file, replaced atomically after each epoch."""

import os
from pathlib import Path
from typing import Any

import torch

CHECKPOINT = "checkpoint.pt"


def save_checkpoint(directory: Path, state: dict[str, Any]) -> None:
    """Write to a temporary file and rename it; a kill leaves the old checkpoint or the new one."""
    beside = directory / (CHECKPOINT + ".new")
    torch.save(state, beside)
    os.replace(beside, directory / CHECKPOINT)


def load_checkpoint(directory: Path) -> dict[str, Any] | None:
    """Return the state after the last finished epoch, or None; only tensors and plain values are loaded."""
    path = directory / CHECKPOINT
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, weights_only=True)
    return state
