"""Losses of the recommendation task: pure functions from states and targets to one number.

Shapes: M positions with a target, D embedding_dim, N n_items + 1, K shared negatives.
"""

import torch
from torch import Tensor
from torch.nn import functional

from shared.schema import PAD


def full_softmax(states_MD: Tensor, table_ND: Tensor, targets_M: Tensor, *, bf16: bool = False) -> Tensor:
    """Cross-entropy over the whole catalogue; PAD is no choice."""
    scores_MI = _scores(states_MD, table_ND[PAD + 1 :], bf16)
    return functional.cross_entropy(scores_MI, targets_M - 1)


def sampled_softmax(
    states_MD: Tensor, table_ND: Tensor, targets_M: Tensor, negatives_K: Tensor, log_expected_N: Tensor
) -> Tensor:
    """Cross-entropy over the target and shared negatives, corrected by how often each item is drawn.

    log_expected_N: log of the number of times item n is expected among the K draws
    (Bengio and Senécal 2008). A negative that is the target is taken out of its row.
    """
    own_M = (states_MD * table_ND[targets_M]).sum(-1) - log_expected_N[targets_M]
    others_MK = states_MD @ table_ND[negatives_K].T - log_expected_N[negatives_K]
    others_MK = others_MK.masked_fill(targets_M[:, None] == negatives_K, -torch.inf)
    return (torch.logaddexp(own_M, others_MK.logsumexp(-1)) - own_M).mean()


def gbce(
    states_MD: Tensor, table_ND: Tensor, targets_M: Tensor, negatives_K: Tensor, *, n_items: int, calibration: float
) -> Tensor:
    """gBCE of gSASRec, https://arxiv.org/abs/2308.07192: the positive's probability is raised to β < 1.

    With uniform shared negatives. calibration t: 0 is plain BCE, 1 is fully calibrated.
    """
    alpha = len(negatives_K) / (n_items - 1)
    beta = alpha * (calibration * (1 - 1 / alpha) + 1 / alpha)
    own_M = (states_MD * table_ND[targets_M]).sum(-1)
    others_MK = states_MD @ table_ND[negatives_K].T
    wrong_MK = (targets_M[:, None] != negatives_K).to(others_MK.dtype)
    negative_M = (functional.softplus(others_MK) * wrong_MK).sum(-1)
    return (beta * functional.softplus(-own_M) + negative_M).mean()


def bce(states_MD: Tensor, table_ND: Tensor, targets_M: Tensor, negatives_M: Tensor) -> Tensor:
    """The original SASRec loss, one negative a position: kept as a control, it makes a weak baseline."""
    own_M = (states_MD * table_ND[targets_M]).sum(-1)
    other_M = (states_MD * table_ND[negatives_M]).sum(-1)
    return (functional.softplus(-own_M) + functional.softplus(other_M)).mean()


def _scores(states_MD: Tensor, table_ID: Tensor, bf16: bool) -> Tensor:
    if bf16:
        return (states_MD.bfloat16() @ table_ID.bfloat16().T).float()
    return states_MD @ table_ID.T
