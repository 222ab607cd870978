"""Losses of the recommendation task: pure functions from states and targets to one number.

Shapes: M positions with a target, D embedding_dim, N n_items + 1, K items a target competes with.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from shared.schema import PAD

# Rows of scores that are made, used and thrown away together: K of them stay in a core's cache.
_CHUNK_ELEMENTS = 1 << 20


def full_softmax(states_MD: Tensor, table_ND: Tensor, targets_M: Tensor, *, bf16: bool = False) -> Tensor:
    """Cross-entropy over the whole catalogue; PAD is no choice. bf16: the products, not the sums."""
    own_M = (states_MD * table_ND[targets_M]).sum(-1)
    rows_M = torch.arange(len(targets_M), device=targets_M.device)
    bias_K = states_MD.new_zeros(len(table_ND) - 1)
    return _softmax_against(states_MD, own_M, table_ND[PAD + 1 :], bias_K, rows_M, targets_M - 1, bf16)


def sampled_softmax(
    states_MD: Tensor, table_ND: Tensor, targets_M: Tensor, negatives_K: Tensor, log_expected_N: Tensor
) -> Tensor:
    """Cross-entropy over the target and shared negatives, corrected by how often each item is drawn.

    log_expected_N: log of the number of times item n is expected among the K draws
    (Bengio and Senécal 2008). A negative that is the target is taken out of its row.
    """
    own_M = (states_MD * table_ND[targets_M]).sum(-1) - log_expected_N[targets_M]
    rows, columns = (targets_M[:, None] == negatives_K).nonzero(as_tuple=True)
    bias_K = -log_expected_N[negatives_K]
    return _softmax_against(states_MD, own_M, table_ND[negatives_K], bias_K, rows, columns, False)


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


def bpr(states_MD: Tensor, table_ND: Tensor, targets_M: Tensor, negatives_M: Tensor) -> Tensor:
    """Bayesian personalised ranking, https://arxiv.org/abs/1205.2618: the target above one negative a position."""
    difference_M = (states_MD * (table_ND[targets_M] - table_ND[negatives_M])).sum(-1)
    wrong_M = (targets_M != negatives_M).to(difference_M.dtype)
    return (functional.softplus(-difference_M) * wrong_M).sum() / wrong_M.sum().clamp(min=1)


def ccl(
    states_MD: Tensor, table_ND: Tensor, targets_M: Tensor, negatives_K: Tensor, *, margin: float, weight: float
) -> Tensor:
    """Cosine contrastive loss of SimpleX, https://arxiv.org/abs/2109.12613, with shared negatives.

    It orders cosines; a student that is served by inner product ranks by them only as far as its items are of like
    length.
    """
    states_MD = functional.normalize(states_MD, dim=-1)
    own_M = (states_MD * functional.normalize(table_ND[targets_M], dim=-1)).sum(-1)
    others_MK = states_MD @ functional.normalize(table_ND[negatives_K], dim=-1).T
    wrong_MK = (targets_M[:, None] != negatives_K).to(others_MK.dtype)
    excess_M = ((others_MK - margin).clamp(min=0) * wrong_MK).sum(-1) / wrong_MK.sum(-1).clamp(min=1)
    return (1 - own_M + weight * excess_M).mean()


def dros_weights(counts_N: Tensor) -> Tensor:
    """(N,): how far each item may be from its nominal frequency, (share of the train events + 1 each)^0.05."""
    smoothed_N = counts_N + 1
    return (smoothed_N / smoothed_N.sum()) ** 0.05


def dros(states_MD: Tensor, table_ND: Tensor, targets_M: Tensor, weights_N: Tensor, temperature: float) -> Tensor:
    """The distributionally robust term of DROS, https://arxiv.org/abs/2304.00573: the worst item's squared error.

    log Σ_n exp(weight_n · (score_n − [n is the target])² / temperature) over the catalogue, PAD left out; taken in
    logarithms, so that no score is too large for it.
    """
    size = max(1, _CHUNK_ELEMENTS // len(table_ND))
    total = states_MD.new_zeros(())
    for first in range(0, len(targets_M), size):
        states, targets = states_MD[first : first + size], targets_M[first : first + size]
        part = checkpoint(_dros_of, states, table_ND, targets, weights_N / temperature, use_reentrant=False)
        total = total + part
    return total / max(1, len(targets_M))


def _dros_of(states_MD: Tensor, table_ND: Tensor, targets_M: Tensor, weights_N: Tensor) -> Tensor:
    errors_MN = states_MD @ table_ND.T
    hit_MN = functional.one_hot(targets_M, len(table_ND)).to(errors_MN.dtype)
    exponents_MN = weights_N * (errors_MN - hit_MN) ** 2
    return exponents_MN[:, PAD + 1 :].logsumexp(-1).sum()


def _softmax_against(
    states_MD: Tensor, own_M: Tensor, others_KD: Tensor, bias_K: Tensor, rows: Tensor, columns: Tensor, bf16: bool
) -> Tensor:
    """Mean over M of −log( e^own / (e^own + Σ_K e^(state · other + bias)) ), without the pairs (row, column).

    `rows` ascend. The (M, K) scores are never held: each chunk's gradient is taken while it is in the cache.
    """
    taken: Callable[..., Tensor] = _SoftmaxAgainst.apply
    return taken(states_MD, own_M, others_KD, bias_K, rows, columns, bf16)


class _SoftmaxAgainst(Function):
    @staticmethod
    def forward(
        ctx: Any,
        states_MD: Tensor,
        own_M: Tensor,
        others_KD: Tensor,
        bias_K: Tensor,
        rows: Tensor,
        columns: Tensor,
        bf16: bool,
    ) -> Tensor:
        kind = torch.bfloat16 if bf16 else states_MD.dtype
        inputs_MD, items_KD = states_MD.to(kind), others_KD.to(kind)
        states_grad, own_grad = torch.empty_like(states_MD), torch.empty_like(own_M)
        others_grad = torch.zeros_like(others_KD)
        total = own_M.new_zeros(())
        size = max(1, _CHUNK_ELEMENTS // max(1, len(others_KD)))
        for first in range(0, len(own_M), size):
            part = slice(first, first + size)
            lo, hi = torch.searchsorted(rows, torch.tensor([first, first + size], device=rows.device)).tolist()
            scores = (inputs_MD[part] @ items_KD.T).float().add_(bias_K)
            scores[rows[lo:hi] - first, columns[lo:hi]] = -torch.inf
            own = own_M[part]
            top = torch.maximum(scores.amax(1), own)
            share = scores.sub_(top[:, None]).exp_()
            own_share = (own - top).exp()
            mass = share.sum(1) + own_share
            total += (mass.log() + top - own).sum()
            share = share.div_(mass[:, None]).to(kind)
            states_grad[part] = share @ items_KD
            others_grad += share.T @ inputs_MD[part]
            own_grad[part] = own_share / mass - 1
        ctx.save_for_backward(states_grad, own_grad, others_grad)
        ctx.count = max(1, len(own_M))
        return total / ctx.count

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        scale = grad / ctx.count
        states_grad, own_grad, others_grad = ctx.saved_tensors
        return states_grad * scale, own_grad * scale, others_grad * scale, None, None, None, None
