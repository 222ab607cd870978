"""A teacher that can itself be taught: what mutual distillation needs of a language-model recommender.

Shapes: R events, K kept items, N n_items + 1, D width of the student's items.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from offline.teachers._answers import Answers
from offline.teachers.agreement import kl_with_tail, rank_weights
from offline.teachers.teacher import Distributions, IntArray
from shared.schema import PAD


class Learner(Protocol):
    """One language-model recommender with weights of its own. `answer` keeps best items at the temperature it was
    made with; `hides_seen` says whether what a user had before is kept out of its lists and ranks. `askable` are the
    train events it can learn from, `asked` those of them whose lists are wanted."""

    hides_seen: bool
    askable: IntArray

    @property
    def asked(self) -> IntArray: ...

    def take_items(self, vectors_ND: Tensor) -> None:
        """Read the student's item vectors from now on (row 0 is PAD)."""

    def learn(self, events: IntArray, student: "StudentSaid | None") -> float:
        """Tune on these events' items, and on what the student said there; the mean loss of the last epoch."""

    def answer(self, events: IntArray) -> Answers:
        """What it would recommend before each event."""


@dataclass(frozen=True)
class StudentSaid:
    """The student's distributions, at one row an event, and how much they count beside the own loss.

    current_ranks: the learner's rank of the true item is taken while it learns (the paper's way); else it is the
    distributions' `listener_ranks`, and where these are not known yet, both models listen alike.
    """

    distributions: Distributions
    weight: float
    weigh_samples: bool
    current_ranks: bool

    def loss(self, logits_RN: Tensor, events: IntArray, targets_R: Tensor) -> Tensor:
        """weight · T² · mean over events of listening · KL(student ‖ learner); events without a row do not count."""
        stored = self.distributions
        rows = stored.rows_E[events]
        told = torch.from_numpy(rows >= 0)
        if not told.any():
            return logits_RN[:0].sum()
        rows, logits_MN, targets_M = rows[told.numpy()], logits_RN[told], targets_R[told]
        device = logits_RN.device
        shares_MK = torch.from_numpy(stored.probabilities[rows]).to(device)
        items_MK = torch.from_numpy(stored.items[rows]).to(device)
        hidden_N = torch.arange(logits_MN.shape[1], device=device) == PAD
        logs_MN = (logits_MN / stored.temperature).masked_fill(hidden_N, -torch.inf).log_softmax(-1)
        divergence_M = kl_with_tail(shares_MK, items_MK, logs_MN)
        if self.weigh_samples:
            divergence_M = divergence_M * self._listening(rows, logits_MN.detach(), targets_M)
        return self.weight * stored.temperature**2 * divergence_M.mean()

    def _listening(self, rows: IntArray, logits_MN: Tensor, targets_M: Tensor) -> Tensor:
        stored = self.distributions
        theirs_M = torch.from_numpy(stored.true_ranks[rows]).to(logits_MN.device)
        if self.current_ranks:
            own_M1 = logits_MN.gather(1, targets_M[:, None])
            return rank_weights((logits_MN[:, PAD + 1 :] >= own_M1).sum(1), theirs_M)[0]
        if stored.listener_ranks is None:
            return torch.ones_like(theirs_M, dtype=logits_MN.dtype)
        return rank_weights(torch.from_numpy(stored.listener_ranks[rows]).to(logits_MN.device), theirs_M)[0]
