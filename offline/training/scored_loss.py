"""Losses of `losses.py` for students whose scores are not inner products: the student computes the scores."""

# Shapes: M positions with a target, D embedding_dim, N n_items + 1, K shared negatives

import torch
from torch import Tensor
from torch.nn import functional

from retort.offline.students._base import Student
from retort.offline.training.config import TrainingConfig
from retort.offline.training.negatives import Negatives
from retort.shared.base.errors import RecipeError
from retort.shared.base.schema import PAD


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
