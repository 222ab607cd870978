"""The student's own loss, chosen by the recipe, and its negative sampling by popularity.

A student whose scores are not inner products computes the scores itself (`scored_loss`).
"""

# Shapes: M positions with a target, D embedding_dim, N n_items + 1, K shared negatives

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from retort.offline.data.split import Split
from retort.offline.students._base import Student
from retort.offline.training import losses
from retort.offline.training.config import TrainingConfig
from retort.shared.base.errors import RecipeError
from retort.shared.base.schema import PAD


class SequenceLoss:
    """One of `losses` with its negative sampler."""

    def __init__(self, split: Split, config: TrainingConfig, device: torch.device | None = None) -> None:
        power = config.popularity_power if config.loss == "sampled_softmax" else 0.0
        self.config = config
        self.n_items = len(split.item_index)
        self.sampler = Negatives(split, power, expected_of=config.negatives, device=device)
        self.robustness_N = losses.dros_weights(self.sampler.counts_N)

    def __call__(self, student: Student, states_MD: Tensor, table_ND: Tensor, targets_M: Tensor) -> Tensor:
        if not student.inner_product:
            return scored_loss(student, states_MD, table_ND, targets_M, self.sampler, self.config)
        config, draw = self.config, self.sampler.draw
        match config.loss:
            case "full_softmax":
                return losses.full_softmax(states_MD, table_ND, targets_M, bf16=config.bf16)
            case "sampled_softmax":
                negatives_K = draw(config.negatives)
                return losses.sampled_softmax(states_MD, table_ND, targets_M, negatives_K, self.sampler.log_expected_N)
            case "gbce":
                negatives_K, calibration = draw(config.negatives), config.gbce_calibration
                return losses.gbce(
                    states_MD, table_ND, targets_M, negatives_K, n_items=self.n_items, calibration=calibration
                )
            case "ccl":
                margin, weight = config.ccl_margin, config.ccl_weight
                return losses.ccl(states_MD, table_ND, targets_M, draw(config.negatives), margin=margin, weight=weight)
            case "bce":
                return losses.bce(states_MD, table_ND, targets_M, draw(len(targets_M)))
            case "bpr":
                return losses.bpr(states_MD, table_ND, targets_M, draw(len(targets_M)))
            case "dros":
                robust = losses.dros(states_MD, table_ND, targets_M, self.robustness_N, config.dros_temperature)
                return losses.bce(states_MD, table_ND, targets_M, draw(len(targets_M))) + config.dros_weight * robust


class Negatives:
    """Sampler of items ∝ popularity^power; `log_expected_N` is for `expected_of` draws.

    Items are drawn on the CPU whatever the device, so that a seed draws the same items everywhere.
    """

    def __init__(self, split: Split, power: float, expected_of: int, device: torch.device | None = None) -> None:
        counts = np.bincount(split.train.values, minlength=len(split.item_index) + 1).astype(np.float64)
        weights = np.maximum(counts, 1) ** power
        weights[0] = 0
        share = weights / weights.sum()
        self.device = device
        self.counts_N = torch.from_numpy(counts).float().to(device)
        self._cumulative = torch.from_numpy(np.cumsum(share))
        with np.errstate(divide="ignore"):
            self.log_expected_N = torch.from_numpy(np.log(share * expected_of)).float()
        self.log_expected_N[0] = 0
        self.log_expected_N = self.log_expected_N.to(device)

    def draw(self, count: int) -> Tensor:
        """Return `count` item indexes, drawn with replacement."""
        places = torch.rand(count, dtype=torch.float64)
        drawn = torch.searchsorted(self._cumulative, places, right=True).clamp(1, len(self._cumulative) - 1)
        return drawn.to(self.device)


def scored_loss(
    student: Student,
    states_MD: Tensor,
    table_ND: Tensor,
    targets_M: Tensor,
    sampler: Negatives,
    config: TrainingConfig,
) -> Tensor:
    """Return the loss bce, bpr, sampled_softmax or full_softmax.

    Raises:
        RecipeError: The loss requires vectors instead of scores.
    """
    if config.loss == "full_softmax":
        return functional.cross_entropy(student.scores(states_MD, table_ND[PAD + 1 :]), targets_M - PAD - 1)
    own_M = student.match(states_MD, table_ND[targets_M])
    match config.loss:
        case "sampled_softmax":
            negatives_K = sampler.draw(config.negatives)
            others_MK = student.scores(states_MD, table_ND[negatives_K])
            return _sampled_softmax(own_M, others_MK, targets_M, negatives_K, sampler.log_expected_N)
        case "bce" | "bpr":
            negatives_M = sampler.draw(len(targets_M))
            other_M = student.match(states_MD, table_ND[negatives_M])
            if config.loss == "bce":
                return (functional.softplus(-own_M) + functional.softplus(other_M)).mean()
            wrong_M = (targets_M != negatives_M).to(own_M.dtype)
            return (functional.softplus(other_M - own_M) * wrong_M).sum() / wrong_M.sum().clamp(min=1)
        case _:
            raise RecipeError(
                f"[training] loss = {config.loss!r} requires scores that are inner products; choose bce, "
                "bpr, sampled_softmax or full_softmax."
            )


def _sampled_softmax(
    own_M: Tensor, others_MK: Tensor, targets_M: Tensor, negatives_K: Tensor, log_expected_N: Tensor
) -> Tensor:
    """As `losses.sampled_softmax`; a negative that is the target does not count in its row."""
    own_M = own_M - log_expected_N[targets_M]
    others_MK = others_MK - log_expected_N[negatives_K]
    others_MK = others_MK.masked_fill(targets_M[:, None] == negatives_K, -torch.inf)
    return (torch.cat([own_M[:, None], others_MK], 1).logsumexp(1) - own_M).mean()
