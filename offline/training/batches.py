"""Training windows in batches of similar length, so that little is spent on padding.

Shapes: B batch, T longest sequence of the batch.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from retort.offline.data.ragged import Ragged
from retort.shared.base.schema import PAD

# Lengths are sorted within this many batches at a time: sorted enough to save work, random enough to learn.
_BATCHES_PER_POOL = 16


@dataclass(frozen=True)
class Batch:
    """A batch of windows.

    Attributes:
        users_B: user_index of each row.
        sequences_BT: Item indexes, left-padded, the newest last.
        events_BT: Index of each item in `train.values`, −1 at padding.
    """

    users_B: Tensor
    sequences_BT: Tensor
    events_BT: Tensor


@dataclass(frozen=True)
class Windows:
    """Windows of histories that fit into a student: user and slice of `values` of each window, (W,) each."""

    values: NDArray[np.int64]
    users: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.users)


def cut_windows(train: Ragged, max_length: int, *, every: bool = True) -> Windows:
    """Cut each history into windows of max_length inputs and their targets, counted from its end.

    Adjacent windows share one item, so every event but the first of a history is a target once.

    Args:
        train: Train histories.
        max_length: Number of inputs of a window.
        every: False keeps only the newest window of each user, as the published code does.
    """
    lengths = train.lengths
    rows = np.flatnonzero(lengths >= 2)
    steps = lengths[rows] - 1  # number of targets
    counts = -(-steps // max_length) if every else np.ones_like(steps)
    users = np.repeat(rows, counts)
    nth = np.arange(len(users)) - np.repeat(np.cumsum(counts) - counts, counts)
    ends = train.offsets[users + 1] - nth * max_length
    starts = np.maximum(train.offsets[users], ends - max_length - 1)
    return Windows(train.values, users, starts, ends)


def batches(windows: Windows, batch_size: int, seed: int, epoch: int) -> Iterator[Batch]:
    """Yield all windows once, in an order that depends only on seed and epoch."""
    random = np.random.default_rng((seed, epoch))
    order = random.permutation(len(windows))
    lengths = windows.ends - windows.starts
    pool = batch_size * _BATCHES_PER_POOL
    groups = []
    for first in range(0, len(order), pool):
        part = order[first : first + pool]
        part = part[np.argsort(lengths[part], kind="stable")]
        groups += [part[i : i + batch_size] for i in range(0, len(part), batch_size)]
    for group in random.permutation(len(groups)):
        yield _batch(windows, groups[group])


def _batch(windows: Windows, rows: NDArray[np.int64]) -> Batch:
    starts, ends = windows.starts[rows], windows.ends[rows]
    # counted from the newest item, whose event is the one before the window's end
    events_BT = ends[:, None] - np.arange(int((ends - starts).max()), 0, -1)
    real_BT = events_BT >= starts[:, None]
    sequences_BT = np.where(real_BT, windows.values[np.maximum(events_BT, 0)], PAD)
    events_BT = np.where(real_BT, events_BT, -1)
    return Batch(torch.from_numpy(windows.users[rows]), torch.from_numpy(sequences_BT), torch.from_numpy(events_BT))
