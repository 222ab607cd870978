"""Truncated Kullback-Leibler divergence with sample weights by rank: LLMD4Rec, https://arxiv.org/abs/2505.18120.

Shapes: M positions, K kept items, N n_items + 1, D width of the learner's states.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from retort.shared.base.schema import PAD

# (rows, their scores (m, n_items) of all items but PAD) → (m,): weights computed from the scores
Weigh = Callable[[slice, Tensor], Tensor]

# Scores of one chunk of rows: few enough for the cache, enough rows for fast products.
_CHUNK_ELEMENTS = 1 << 21


def rank_weights(one_M: Tensor, other_M: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sample weights of two models that learn from each other; their sum is 2.

    With ρ = worse rank / better rank, the worse model has weight min(2, ρ) and the better one max(0, 2 − ρ).

    Args:
        one_M: Ranks of the true item by the first model, from 1.
        other_M: Ranks by the second model.
    """
    worse_M, better_M = torch.maximum(one_M, other_M), torch.minimum(one_M, other_M)
    worse_weight_M = (worse_M / better_M.clamp(min=1)).clamp(max=2.0)
    one_weight_M = torch.where(one_M >= other_M, worse_weight_M, 2 - worse_weight_M)
    return one_weight_M, 2 - one_weight_M


def by_current_ranks(targets_M: Tensor, theirs_M: Tensor) -> Weigh:
    """Return `rank_weights` of a learner, computed from its current scores; a tie counts against the true item."""

    def weigh(rows: slice, scores: Tensor) -> Tensor:
        own = scores.gather(1, targets_M[rows, None] - PAD - 1)
        return rank_weights((scores >= own).sum(1), theirs_M[rows])[0]

    return weigh


def tail_divergence(
    states_MD: Tensor,
    table_ND: Tensor,
    items_MK: Tensor,
    shares_MK: Tensor,
    weights: Tensor | Weigh,
    temperature: float,
    *,
    bf16: bool = False,
) -> Tensor:
    """Return the mean over M of weight · KL( listed ‖ softmax of the learner's scores / temperature ); 0 for M = 0.

    The (M, N) scores are never held. No gradient reaches shares and weights.

    Args:
        states_MD: States of the learner.
        table_ND: Item vectors of the learner.
        items_MK: The K known items of the listed distribution, PAD where fewer; see `kl_with_tail`.
        shares_MK: Their probabilities.
        weights: (M,), or a function that computes them from the scores.
        temperature: Temperature of both distributions.
        bf16: Compute products in bfloat16, sums in float32.
    """
    taken: Callable[..., Tensor] = _TailDivergence.apply
    return taken(states_MD / temperature, table_ND, items_MK, shares_MK, weights, bf16)


def kl_with_tail(shares_MK: Tensor, logs_MK: Tensor, real_MK: Tensor) -> Tensor:
    """Return the KL divergence (M,) of distributions in which all items but the K named are one item.

    It is never above the full KL divergence.

    Args:
        shares_MK: Probabilities of the named items.
        logs_MK: The learner's log probabilities of the named items.
        real_MK: False where fewer than K items are named.
    """
    shares_MK = shares_MK * real_MK
    # the log of PAD may be −inf, and 0 · −inf is NaN
    logs_MK = torch.where(real_MK, logs_MK, 0.0)
    named_M = (shares_MK * (shares_MK.clamp(min=1e-12).log() - logs_MK)).sum(-1)
    tail_M = (1 - shares_MK.sum(-1)).clamp(min=0)
    mine_M = (1 - (logs_MK.exp() * real_MK).sum(-1)).clamp(min=1e-6)
    return named_M + tail_M * (tail_M.clamp(min=1e-12).log() - mine_M.log())


class _TailDivergence(Function):
    """Loss and gradients in one pass over chunks of rows; `backward` only scales the gradients."""

    @staticmethod
    def forward(
        ctx: Any,
        states_MD: Tensor,
        table_ND: Tensor,
        items_MK: Tensor,
        shares_MK: Tensor,
        weights: Tensor | Weigh,
        bf16: bool,
    ) -> Tensor:
        kind = torch.bfloat16 if bf16 else states_MD.dtype
        inputs_MD, catalogue_ND = states_MD.to(kind), table_ND[PAD + 1 :].to(kind)
        states_grad, table_grad = torch.empty_like(states_MD), torch.zeros_like(table_ND)
        total = states_MD.new_zeros(())
        size = max(1, _CHUNK_ELEMENTS // len(table_ND))
        for first in range(0, len(states_MD), size):
            part = slice(first, first + size)
            real = items_MK[part] != PAD
            columns = (items_MK[part] - PAD - 1).clamp(min=0)
            scores = (inputs_MD[part] @ catalogue_ND.T).to(states_MD.dtype)
            weight = weights[part] if isinstance(weights, Tensor) else weights(part, scores)
            scores -= scores.amax(1, keepdim=True)
            named = scores.gather(1, columns)
            mass = scores.exp_().sum(1, keepdim=True)
            logs = (named - mass.log()).requires_grad_()
            with torch.enable_grad():
                loss = (weight * kl_with_tail(shares_MK[part], logs, real)).sum()
            (slopes,) = torch.autograd.grad(loss, logs)
            total += loss.detach()
            # gradient by the scores: for each log 1 at its own item, minus the share of every item
            scores *= slopes.sum(1, keepdim=True) / -mass
            scores.scatter_add_(1, columns, slopes)
            slope = scores.to(kind)
            states_grad[part] = slope @ catalogue_ND
            table_grad[PAD + 1 :] += slope.T @ inputs_MD[part]
        ctx.save_for_backward(states_grad, table_grad)
        ctx.count = max(1, len(states_MD))
        return total / ctx.count

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        states_grad, table_grad = ctx.saved_tensors
        scale = grad / ctx.count
        return states_grad * scale, table_grad * scale, *(None,) * 4
