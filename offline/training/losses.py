"""Losses of the recommendation task: pure functions from states and targets to one number.

Shapes: M positions with a target, D embedding_dim, N n_items + 1, K items a target competes with.
"""

from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from retort.offline.losses.softmax import Competitors, Own, softmax_cross_entropy
from retort.shared.base.schema import PAD

# Rows of scores that are made, used and thrown away together: K of them stay in a core's cache.
_CHUNK_ELEMENTS = 1 << 20


def full_softmax(states_MD: Tensor, table_ND: Tensor, targets_M: Tensor, *, bf16: bool = False) -> Tensor:
    """Cross-entropy over the whole catalogue; PAD is no choice. bf16: the products, not the sums."""
    own = Own(targets_M[:, None], states_MD.new_ones(len(targets_M), 1))
    return softmax_cross_entropy(states_MD, table_ND, own, Competitors(bf16=bf16))


def sampled_softmax(
    states_MD: Tensor, table_ND: Tensor, targets_M: Tensor, negatives_K: Tensor, log_expected_N: Tensor
) -> Tensor:
    """Cross-entropy over the target and shared negatives, corrected by how often each item is drawn.

    log_expected_N: log of the number of times item n is expected among the K draws
    (Bengio and Senécal 2008). A negative that is the target is taken out of its row.
    """
    own = Own(targets_M[:, None], states_MD.new_ones(len(targets_M), 1), -log_expected_N[targets_M][:, None])
    return softmax_cross_entropy(states_MD, table_ND, own, Competitors(negatives_K, -log_expected_N[negatives_K]))


def gbce(
    states_MD: Tensor, table_ND: Tensor, targets_M: Tensor, negatives_K: Tensor, *, n_items: int, calibration: float
) -> Tensor:
    """gBCE of gSASRec, https://arxiv.org/abs/2308.07192: the positive's probability is raised to β < 1.

    With uniform shared negatives. calibration t: 0 is plain BCE, 1 is fully calibrated.
    """
    alpha = len(negatives_K) / max(1, n_items - 1)
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
