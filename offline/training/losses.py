"""Losses of the recommendation task: functions from states and targets to a scalar.

Shapes: M positions with a target, D embedding_dim, N n_items + 1, K negatives.
"""

from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from retort.offline.losses.softmax import Competitors, Own, softmax_cross_entropy
from retort.shared.base.schema import PAD

# Scores of one chunk of rows; they fit into a core's cache.
_CHUNK_ELEMENTS = 1 << 20


def full_softmax(states_MD: Tensor, table_ND: Tensor, targets_M: Tensor, *, bf16: bool = False) -> Tensor:
    """Return the cross-entropy over the whole catalogue without PAD; bf16: products in bfloat16, sums in float32."""
    own = Own(targets_M[:, None], states_MD.new_ones(len(targets_M), 1))
    return softmax_cross_entropy(states_MD, table_ND, own, Competitors(bf16=bf16))


def sampled_softmax(
    states_MD: Tensor, table_ND: Tensor, targets_M: Tensor, negatives_K: Tensor, log_expected_N: Tensor
) -> Tensor:
    """Return the cross-entropy over the target and shared negatives, with logQ correction (Bengio and Senécal 2008).

    A negative that is the target does not count in its row.

    Args:
        states_MD: States.
        table_ND: Item vectors.
        targets_M: Target of each state.
        negatives_K: Shared negatives.
        log_expected_N: Log of the expected number of occurrences of each item among the K negatives.
    """
    own = Own(targets_M[:, None], states_MD.new_ones(len(targets_M), 1), -log_expected_N[targets_M][:, None])
    return softmax_cross_entropy(states_MD, table_ND, own, Competitors(negatives_K, -log_expected_N[negatives_K]))


def gbce(
    states_MD: Tensor, table_ND: Tensor, targets_M: Tensor, negatives_K: Tensor, *, n_items: int, calibration: float
) -> Tensor:
    """Return the gBCE loss of gSASRec, https://arxiv.org/abs/2308.07192, with uniform shared negatives.

    The probability of the positive is raised to β < 1. calibration (t): 0 is plain BCE, 1 is fully calibrated.
    """
    alpha = len(negatives_K) / max(1, n_items - 1)
    beta = alpha * (calibration * (1 - 1 / alpha) + 1 / alpha)
    own_M = (states_MD * table_ND[targets_M]).sum(-1)
    others_MK = states_MD @ table_ND[negatives_K].T
    wrong_MK = (targets_M[:, None] != negatives_K).to(others_MK.dtype)
    negative_M = (functional.softplus(others_MK) * wrong_MK).sum(-1)
    return (beta * functional.softplus(-own_M) + negative_M).mean()


def bce(states_MD: Tensor, table_ND: Tensor, targets_M: Tensor, negatives_M: Tensor) -> Tensor:
    """Return the original SASRec loss with one negative per position; a weak baseline, kept as a control."""
    own_M = (states_MD * table_ND[targets_M]).sum(-1)
    other_M = (states_MD * table_ND[negatives_M]).sum(-1)
    return (functional.softplus(-own_M) + functional.softplus(other_M)).mean()


def bpr(states_MD: Tensor, table_ND: Tensor, targets_M: Tensor, negatives_M: Tensor) -> Tensor:
    """Return the loss of Bayesian personalised ranking, https://arxiv.org/abs/1205.2618, one negative per position."""
    difference_M = (states_MD * (table_ND[targets_M] - table_ND[negatives_M])).sum(-1)
    wrong_M = (targets_M != negatives_M).to(difference_M.dtype)
    return (functional.softplus(-difference_M) * wrong_M).sum() / wrong_M.sum().clamp(min=1)


def ccl(
    states_MD: Tensor, table_ND: Tensor, targets_M: Tensor, negatives_K: Tensor, *, margin: float, weight: float
) -> Tensor:
    """Return the cosine contrastive loss of SimpleX, https://arxiv.org/abs/2109.12613, with shared negatives.

    It trains cosines; a student that is served by inner product ranks by them only if its items have similar lengths.
    """
    states_MD = functional.normalize(states_MD, dim=-1)
    own_M = (states_MD * functional.normalize(table_ND[targets_M], dim=-1)).sum(-1)
    others_MK = states_MD @ functional.normalize(table_ND[negatives_K], dim=-1).T
    wrong_MK = (targets_M[:, None] != negatives_K).to(others_MK.dtype)
    excess_M = ((others_MK - margin).clamp(min=0) * wrong_MK).sum(-1) / wrong_MK.sum(-1).clamp(min=1)
    return (1 - own_M + weight * excess_M).mean()


def dros_weights(counts_N: Tensor) -> Tensor:
    """Return the robustness radius (N,) of each item: (smoothed share of the train events)^0.05."""
    smoothed_N = counts_N + 1
    return (smoothed_N / smoothed_N.sum()) ** 0.05


def dros(states_MD: Tensor, table_ND: Tensor, targets_M: Tensor, weights_N: Tensor, temperature: float) -> Tensor:
    """Return the distributionally robust term of DROS, https://arxiv.org/abs/2304.00573.

    log Σ_n exp(weight_n · (score_n − [n is the target])² / temperature) over the catalogue without PAD, computed in
    logarithms so that large scores do not overflow.
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
