"""Negative sampling by popularity."""

# Shapes: N n_items + 1

import numpy as np
import torch
from torch import Tensor

from retort.offline.data.split import Split


class Negatives:
    """Sampler of items ∝ popularity^power; `log_expected_N` is for `expected_of` draws."""

    def __init__(self, split: Split, power: float, expected_of: int) -> None:
        counts = np.bincount(split.train.values, minlength=len(split.item_index) + 1).astype(np.float64)
        weights = np.maximum(counts, 1) ** power
        weights[0] = 0
        share = weights / weights.sum()
        self.counts_N = torch.from_numpy(counts).float()
        self._cumulative = torch.from_numpy(np.cumsum(share))
        with np.errstate(divide="ignore"):
            self.log_expected_N = torch.from_numpy(np.log(share * expected_of)).float()
        self.log_expected_N[0] = 0

    def draw(self, count: int) -> Tensor:
        """Return `count` item indexes, drawn with replacement."""
        places = torch.rand(count, dtype=torch.float64)
        return torch.searchsorted(self._cumulative, places, right=True).clamp(1, len(self._cumulative) - 1)
