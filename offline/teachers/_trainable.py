"""A teacher that can itself be taught: what mutual distillation needs of a language-model recommender.

Shapes: R events, K kept items, N n_items + 1, D width of states and items.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from retort.offline.losses.truncated_kl import Weigh, by_current_ranks, rank_weights, tail_divergence
from retort.offline.teachers._list_collector import ListBatch
from retort.offline.teachers.teacher import Distributions, IntArray


class TrainableTeacher(Protocol):
    """One language-model recommender with weights of its own. `answer` keeps best items at the temperature it was
    made with; `hides_seen` says whether what a user had before is kept out of its lists and ranks. `askable` are the
    train events it can learn from, `asked` those of them whose lists are wanted."""

    hides_seen: bool
    eligible: IntArray

    @property
    def evaluated(self) -> IntArray: ...

    def set_item_vectors(self, vectors_ND: Tensor) -> None:
        """Read the student's item vectors from now on (row 0 is PAD)."""

    def tune_on(self, events: IntArray, student: "StudentPredictions | None") -> float:
        """Tune on these events' items, and on what the student said there; the mean loss of the last epoch."""

    def recommend(self, events: IntArray) -> ListBatch:
        """What it would recommend before each event."""


@dataclass(frozen=True)
class StudentPredictions:
    """The student's distributions, at one row an event, and how much they count beside the own loss.

    current_ranks: the learner's rank of the true item is taken while it learns (the paper's way); else it is the
    distributions' `listener_ranks`, and where these are not known yet, both models listen alike.
    bf16: products with the catalogue are taken in bfloat16, as the student's own are.
    """

    distributions: Distributions
    weight: float
    weigh_samples: bool
    current_ranks: bool
    bf16: bool = False

    def loss(self, states_RD: Tensor, table_ND: Tensor, events: IntArray, targets_R: Tensor) -> Tensor:
        """weight · T² · mean over events of listening · KL(student ‖ learner); events without a row do not count.

        The learner scores item n by states · table[n].
        """
        stored, device = self.distributions, states_RD.device
        outputs = torch.from_numpy(stored.rows_E[events] >= 0)
        rows, states_MD = stored.rows_E[events[outputs.numpy()]], states_RD[outputs]
        listening = self._listening(rows, targets_R[outputs], device)
        items_MK = torch.from_numpy(stored.items[rows]).to(device)
        shares_MK = torch.from_numpy(stored.probabilities[rows]).to(device)
        divergence = tail_divergence(
            states_MD, table_ND, items_MK, shares_MK, listening, stored.temperature, bf16=self.bf16
        )
        return self.weight * stored.temperature**2 * divergence

    def _listening(self, rows: IntArray, targets_M: Tensor, device: torch.device) -> Tensor | Weigh:
        stored = self.distributions
        theirs_M = torch.from_numpy(stored.true_ranks[rows]).to(device)
        if self.weigh_samples and self.current_ranks:
            return by_current_ranks(targets_M, theirs_M)
        if self.weigh_samples and stored.learner_ranks is not None:
            return rank_weights(torch.from_numpy(stored.learner_ranks[rows]).to(device), theirs_M)[0]
        return torch.ones(len(rows), device=device)
