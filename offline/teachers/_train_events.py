"""Train events with their histories, as inputs of teachers.

Shapes: E train events, R evaluated events, N n_items + 1, L history length.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from retort.offline.data.ragged import Ragged
from retort.offline.teachers.teacher import IntArray
from retort.shared.base.schema import PAD

_FOLDS = 2505  # a separate random stream: data drawn with the same seed must not decide the folds
_MOST_HIDDEN = 200  # newest events of a history that are excluded from the list


class TrainEvents:
    """Train events of all users.

    Attributes:
        values: Item of each event (E,).
        nth: Number of earlier events of the same user (E,).
        left: Number of events of the same user from this one on, itself included (E,).
        users: user_index of each event (E,).
    """

    def __init__(self, train: Ragged) -> None:
        nth = np.arange(len(train.values)) - np.repeat(train.offsets[:-1], train.lengths)
        self.values = torch.from_numpy(train.values)
        self.nth = torch.from_numpy(nth)
        self.left: IntArray = np.repeat(train.lengths, train.lengths) - nth
        self.users: IntArray = np.repeat(np.arange(len(train)), train.lengths)

    def __len__(self) -> int:
        return len(self.values)

    def before(self, events_R: Tensor, lag: int) -> tuple[Tensor, Tensor]:
        """Return the item `lag` events earlier (R,) and whether there is one (R,)."""
        return self.values[(events_R - lag).clamp(min=0)], self.nth[events_R] >= lag

    def histories(self, events: IntArray, length: int) -> Tensor:
        """Return the newest items (R, L) before each event, left-padded, the newest last."""
        here_R1 = torch.from_numpy(events)[:, None]
        lags_L = torch.arange(min(length, int(self.nth[here_R1].max())), 0, -1)
        items_RL = self.values[(here_R1 - lags_L).clamp(min=0)]
        return items_RL.where(self.nth[here_R1] >= lags_L, PAD)

    def hide_seen(self, scores_RN: Tensor, events: IntArray) -> None:
        """Set the scores of earlier items of the user to −inf, except that of the true item."""
        here, rows = torch.from_numpy(events), torch.arange(len(events))
        true_R = scores_RN[rows, self.values[here]]
        for lag in range(1, min(_MOST_HIDDEN, int(self.nth[here].max())) + 1):
            items, there = self.before(here, lag)
            scores_RN[rows[there], items[there]] = -torch.inf
        scores_RN[rows, self.values[here]] = true_R


def chunks(events: IntArray, size: int) -> Iterator[tuple[int, IntArray]]:
    """Yield chunks of at most `size` events, each with the number of events done after it."""
    for first in range(0, len(events), size):
        part = events[first : first + size]
        yield first + len(part), part


def user_folds(n_users: int, folds: int, seed: int) -> IntArray:
    """Return the fold (n_users,) of each user for cross-fitting."""
    return np.random.default_rng((seed, _FOLDS)).integers(max(1, folds), size=n_users)
