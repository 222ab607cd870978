"""Train events as questions: what stood before each, and what a teacher must not say again.

Shapes: E train events, R asked events, N n_items + 1, L history length.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from retort.offline.data.ragged import Ragged
from retort.offline.teachers.teacher import IntArray
from retort.shared.base.schema import PAD

_FOLDS = 2505  # a stream of its own: data drawn with the same seed must not decide who is in which group
_MOST_HIDDEN = 200  # events back for which an item is kept out of the list


class TrainEvents:
    """values (E,) the item of each event; nth (E,) events of the same user before it; left (E,) events from it on,
    itself counted; users (E,)."""

    def __init__(self, train: Ragged) -> None:
        nth = np.arange(len(train.values)) - np.repeat(train.offsets[:-1], train.lengths)
        self.values = torch.from_numpy(train.values)
        self.nth = torch.from_numpy(nth)
        self.left: IntArray = np.repeat(train.lengths, train.lengths) - nth
        self.users: IntArray = np.repeat(np.arange(len(train)), train.lengths)

    def __len__(self) -> int:
        return len(self.values)

    def before(self, events_R: Tensor, lag: int) -> tuple[Tensor, Tensor]:
        """The item `lag` events earlier (R,), and whether there is one (R,)."""
        return self.values[(events_R - lag).clamp(min=0)], self.nth[events_R] >= lag

    def histories(self, events: IntArray, length: int) -> Tensor:
        """(R, L): the newest items before each event, left-padded, the newest last."""
        here_R1 = torch.from_numpy(events)[:, None]
        lags_L = torch.arange(min(length, int(self.nth[here_R1].max())), 0, -1)
        items_RL = self.values[(here_R1 - lags_L).clamp(min=0)]
        return items_RL.where(self.nth[here_R1] >= lags_L, PAD)

    def hide_seen(self, scores_RN: Tensor, events: IntArray) -> None:
        """Put −inf on what the user had before, but never on the item that was taken."""
        here, rows = torch.from_numpy(events), torch.arange(len(events))
        true_R = scores_RN[rows, self.values[here]]
        for lag in range(1, min(_MOST_HIDDEN, int(self.nth[here].max())) + 1):
            items, there = self.before(here, lag)
            scores_RN[rows[there], items[there]] = -torch.inf
        scores_RN[rows, self.values[here]] = true_R


def chunks(events: IntArray, size: int) -> Iterator[tuple[int, IntArray]]:
    """Pieces of at most `size`, each with how many are behind it."""
    for first in range(0, len(events), size):
        part = events[first : first + size]
        yield first + len(part), part


def user_folds(n_users: int, folds: int, seed: int) -> IntArray:
    """(n_users,): the group of each user for cross-fitting."""
    return np.random.default_rng((seed, _FOLDS)).integers(max(1, folds), size=n_users)
