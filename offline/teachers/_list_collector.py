"""Collection of a teacher's ranked lists, batch by batch.

Shapes: R evaluated events, K list length, N n_items + 1.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from retort.offline.teachers._train_events import TrainEvents
from retort.offline.teachers.teacher import Distributions, IntArray, Rankings
from retort.shared.base.schema import PAD


@dataclass(frozen=True)
class ListBatch:
    """Ranked lists of a batch of events.

    Attributes:
        items_RK: Best items first, PAD where fewer.
        distances_RK: Their distances.
        shares_RK: Their probabilities.
        ranks_R: Rank of the true item.
        d_star_R: Distance of the true item.
    """

    items_RK: Tensor
    distances_RK: Tensor
    shares_RK: Tensor
    ranks_R: Tensor
    d_star_R: Tensor


@dataclass(frozen=True)
class TeacherOutputs:
    """Lists of all evaluated events, and their hit rate at 10."""

    rankings: Rankings
    distributions: Distributions
    hit_rate: float

    def line(self) -> str:
        """Return the metrics of the teacher itself at the evaluated events, as one line of text."""
        ranks_R = self.distributions.true_ranks
        gains_R = np.where(ranks_R <= 10, 1 / np.log2(ranks_R + 1.0), 0.0)
        return f"HR@10 {self.hit_rate:.4f}, NDCG@10 {gains_R.mean():.4f} at {len(ranks_R):,} events"


class ListCollector:
    """Collector of the lists of `evaluated` (R,) events out of `n_events` train events."""

    def __init__(self, n_events: int, evaluated: IntArray, k: int, temperature: float) -> None:
        self.temperature = temperature
        self.rows_E = np.full(n_events, -1, dtype=np.int64)
        self.rows_E[evaluated] = np.arange(len(evaluated))
        self.items = np.full((len(evaluated), k), PAD, dtype=np.int64)
        self.distances = np.full((len(evaluated), k), np.inf, dtype=np.float32)
        self.shares = np.zeros((len(evaluated), k), dtype=np.float32)
        self.ranks = np.zeros(len(evaluated), dtype=np.int64)
        self.d_star = np.zeros(len(evaluated), dtype=np.float32)

    def fill(self, events: IntArray, batch: ListBatch) -> None:
        """Store the lists of some of the evaluated events."""
        rows, k = self.rows_E[events], batch.items_RK.shape[1]
        self.items[rows, :k] = batch.items_RK.cpu()
        self.distances[rows, :k] = batch.distances_RK.cpu()
        self.shares[rows, :k] = batch.shares_RK.cpu()
        self.ranks[rows], self.d_star[rows] = batch.ranks_R.cpu(), batch.d_star_R.cpu()

    def outputs(self) -> TeacherOutputs:
        rankings = Rankings(self.rows_E, self.items, self.distances, self.d_star)
        distributions = Distributions(self.rows_E, self.items, self.shares, self.ranks, self.temperature)
        return TeacherOutputs(rankings, distributions, float((self.ranks <= 10).mean()))


def lists_from_logits(logits_RN: Tensor, targets_R: Tensor, k: int, temperature: float) -> ListBatch:
    """Make lists from logits; a distance is −log of the probability at temperature 1. Overwrites `logits_RN`.

    Ties count against the true item.

    Args:
        logits_RN: Logits of all items, −inf for items that must not be listed.
        targets_R: True items.
        k: Length of the lists.
        temperature: Temperature of the probabilities.
    """
    log_mass_R1 = logits_RN.logsumexp(-1, keepdim=True)
    own_R1 = logits_RN.gather(1, targets_R[:, None])
    ranks_R = (logits_RN >= own_R1).sum(1)
    best = logits_RN.topk(min(k, logits_RN.shape[1]), dim=1)
    none_RK = best.values.isneginf()
    warm_mass_R1 = logits_RN.div_(temperature).logsumexp(-1, keepdim=True)
    return ListBatch(
        items_RK=best.indices.masked_fill(none_RK, PAD),
        distances_RK=log_mass_R1 - best.values,
        shares_RK=(best.values / temperature - warm_mass_R1).exp(),
        ranks_R=ranks_R,
        d_star_R=(log_mass_R1 - own_R1)[:, 0],
    )


def lists_from_cosines(
    cosines_RN: Tensor,
    questions: TrainEvents,
    events: IntArray,
    known_N: Tensor,
    k: int,
    sharpness: float | Tensor,
    *,
    hide_seen: bool,
) -> ListBatch:
    """Make lists from cosines; a distance is 1 − cosine, and 2 for a true item without a text.

    Probabilities are a softmax of cosines times `sharpness`, over the items with a text. Overwrites `cosines_RN`.
    """
    true_R1 = questions.values[torch.from_numpy(events)][:, None]
    d_star_R = torch.where(known_N[true_R1[:, 0]], 1 - cosines_RN.gather(1, true_R1)[:, 0], 2.0)
    cosines_RN[:, ~known_N] = -torch.inf
    if hide_seen:
        questions.hide_seen(cosines_RN, events)
    mask_pad(cosines_RN)
    ranks_R = (cosines_RN >= cosines_RN.gather(1, true_R1)).sum(1)
    best = cosines_RN.topk(min(k, cosines_RN.shape[1]), dim=1)
    items_RK = best.indices.masked_fill(best.values.isneginf(), PAD)
    log_mass_R1 = cosines_RN.mul_(sharpness).logsumexp(-1, keepdim=True)
    return ListBatch(items_RK, 1 - best.values, (best.values * sharpness - log_mass_R1).exp(), ranks_R, d_star_R)


def mask_pad(scores_RN: Tensor) -> None:
    """Exclude PAD from the lists."""
    scores_RN[:, PAD] = -torch.inf
