"""The bound of an epoch: its matrix products at the speed of this machine's own products."""

import time

import torch

from retort.offline.data.split import Split
from retort.offline.students._base import Student
from retort.offline.training.batches import cut_windows
from retort.offline.training.config import TrainingConfig

_PASSES = 3  # forward, and two products of the same size backward


def operations(student: Student, split: Split, config: TrainingConfig) -> tuple[float, float]:
    """Floating-point operations of an epoch: those of the blocks of a SASRec, and those of the loss.

    Padding, norms, dropout, softmax, the item lookups and the optimiser are not counted.
    """
    size = student.config.model_dump()
    width, blocks, expansion = size["embedding_dim"], size["n_blocks"], size["expansion"]
    windows = cut_windows(split.train, size["max_length"], every=config.every_window)
    lengths = (windows.ends - windows.starts - 1).astype(float)
    targets = lengths.sum()
    linear = targets * 2 * (4 * width**2 + 2 * expansion * width**2)
    attention = (lengths**2).sum() * 4 * width
    competitors = student.n_items if config.loss == "full_softmax" else config.negatives + 1
    return _PASSES * blocks * (linear + attention), _PASSES * 2.0 * targets * competitors * width


def operations_per_s(rows: int, inner: int, columns: int, dtype: torch.dtype) -> float:
    """The best of many products of this shape on the threads in use."""
    left, right = torch.randn(rows, inner).to(dtype), torch.randn(columns, inner).to(dtype)
    best = float("inf")
    for _ in range(30):
        started = time.perf_counter()
        left @ right.T
        best = min(best, time.perf_counter() - started)
    return 2.0 * rows * inner * columns / best


def bound_s(student: Student, split: Split, config: TrainingConfig) -> float:
    """Seconds of an epoch's matrix products."""
    blocks, loss = operations(student, split, config)
    width = student.config.embedding_dim
    half = torch.bfloat16 if config.bf16 else torch.float32
    full = config.loss == "full_softmax"
    loss_speed = operations_per_s(128, width, student.n_items if full else 512, half if full else torch.float32)
    return blocks / operations_per_s(1500, width, 4 * width, half) + loss / loss_speed
