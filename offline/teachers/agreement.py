"""How far two recommenders agree, and which of them is to listen: LLMD4Rec, https://arxiv.org/abs/2505.18120.

Shapes: M moments, K kept items, N n_items + 1.
"""

import torch
from torch import Tensor

from shared.schema import PAD


def rank_weights(one_M: Tensor, other_M: Tensor) -> tuple[Tensor, Tensor]:
    """How much each of two models listens to the other, by their ranks of the true item (from 1); the sum is 2.

    With ρ = worse rank / better rank the worse model listens min(2, ρ), the better one max(0, 2 − ρ).
    """
    worse_M, better_M = torch.maximum(one_M, other_M), torch.minimum(one_M, other_M)
    worse_listens_M = (worse_M / better_M.clamp(min=1)).clamp(max=2.0)
    one_listens_M = torch.where(one_M >= other_M, worse_listens_M, 2 - worse_listens_M)
    return one_listens_M, 2 - one_listens_M


def kl_with_tail(shares_MK: Tensor, items_MK: Tensor, logs_MN: Tensor) -> Tensor:
    """(M,): KL between distributions in which all items but the K named are one; logs (M, N): the listener's logs.

    It is never above the full KL.
    """
    real_MK = items_MK != PAD
    shares_MK = shares_MK * real_MK
    # PAD's log is −inf, and 0 · −inf is no number
    logs_MK = torch.where(real_MK, logs_MN.gather(1, items_MK), 0.0)
    named_M = (shares_MK * (shares_MK.clamp(min=1e-12).log() - logs_MK)).sum(-1)
    tail_M = (1 - shares_MK.sum(-1)).clamp(min=0)
    mine_M = (1 - (logs_MK.exp() * real_MK).sum(-1)).clamp(min=1e-6)
    return named_M + tail_M * (tail_M.clamp(min=1e-12).log() - mine_M.log())
