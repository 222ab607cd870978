"""Interface of teachers that mutual distillation trains, and the student's predictions that they learn from.

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
    """A language-model recommender with trainable weights.

    Attributes:
        hides_seen: Whether earlier items of a user are excluded from its lists and ranks.
        eligible: Train events that it can be trained on.
        evaluated: Eligible events that get lists.
    """

    hides_seen: bool
    eligible: IntArray

    @property
    def evaluated(self) -> IntArray: ...

    def set_item_vectors(self, vectors_ND: Tensor) -> None:
        """Use these item vectors of the student from now on; row 0 is PAD."""

    def tune_on(self, events: IntArray, student: "StudentPredictions | None") -> float:
        """Train on the items of these events and on the student's predictions; return the last epoch's mean loss."""

    def recommend(self, events: IntArray) -> ListBatch:
        """Return the lists before each event."""


@dataclass(frozen=True)
class StudentPredictions:
    """Distributions of the student, as a training target of the teacher.

    Attributes:
        distributions: One row per event.
        weight: Weight relative to the teacher's own loss.
        weigh_samples: Whether events are weighted by the two ranks of the true item.
        current_ranks: Whether the teacher's rank is computed during training, as in the paper; else it is the
            distributions' `learner_ranks`, and where these are unknown, all weights are 1.
        bf16: Compute products with the catalogue in bfloat16, as the student's own are.
    """

    distributions: Distributions
    weight: float
    weigh_samples: bool
    current_ranks: bool
    bf16: bool = False

    def loss(self, states_RD: Tensor, table_ND: Tensor, events: IntArray, targets_R: Tensor) -> Tensor:
        """Return weight · T² · mean over events of sample weight · KL(student ‖ teacher).

        Events without a row do not count. The teacher scores item n by states · table[n].
        """
        stored, device = self.distributions, states_RD.device
        outputs = torch.from_numpy(stored.rows_E[events] >= 0)
        rows, states_MD = stored.rows_E[events[outputs.numpy()]], states_RD[outputs]
        weights = self._sample_weights(rows, targets_R[outputs], device)
        items_MK = torch.from_numpy(stored.items[rows]).to(device)
        shares_MK = torch.from_numpy(stored.probabilities[rows]).to(device)
        divergence = tail_divergence(
            states_MD, table_ND, items_MK, shares_MK, weights, stored.temperature, bf16=self.bf16
        )
        return self.weight * stored.temperature**2 * divergence

    def _sample_weights(self, rows: IntArray, targets_M: Tensor, device: torch.device) -> Tensor | Weigh:
        stored = self.distributions
        theirs_M = torch.from_numpy(stored.true_ranks[rows]).to(device)
        if self.weigh_samples and self.current_ranks:
            return by_current_ranks(targets_M, theirs_M)
        if self.weigh_samples and stored.learner_ranks is not None:
            return rank_weights(torch.from_numpy(stored.learner_ranks[rows]).to(device), theirs_M)[0]
        return torch.ones(len(rows), device=device)
