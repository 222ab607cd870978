"""Learning-rate schedule."""

import math
from typing import Literal

LearningRate = Literal["cosine", "constant"]


def learning_rate_factor(step: int, total: int, warmup: int, kind: LearningRate) -> float:
    """Return the share of the peak rate at a step (from 0): linear warm-up, then constant or cosine decay to 1 %."""
    if step < warmup:
        return (step + 1) / warmup
    if kind == "constant":
        return 1.0
    done = (step - warmup) / max(1, total - warmup)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
