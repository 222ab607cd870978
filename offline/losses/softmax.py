"""Softmax cross-entropy of a few own items per row against competitors that all rows share.

The student's own loss (one target per row) and the teacher's lists (several weighted items per row) are the same sum.
Neither the (M, S) scores nor the (M, K, D) vectors are ever held: the gradient of each chunk is taken while the chunk
is in the cache.

Shapes: M positions, K items of each position's own, S shared competitors, P pairs, D embedding_dim, N n_items + 1.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from retort.shared.base.schema import PAD

# Scores of one chunk of rows; on a CPU they fit into a core's cache.
_CHUNK_ELEMENTS = 1 << 20
_CHUNK_ELEMENTS_GPU = 1 << 27
# Rows of a chunk of a large catalogue; fewer rows would read the competitors too often.
_LEAST_ROWS = 16
# Rows of at least so many chunks are kept for one product that adds to the competitors' gradients.
_CHUNKS_HELD = 8
# Scores are computed in units of ln 2: PyTorch's exp2 is three times faster than its exp on a CPU.
_PER_LN2 = 1 / math.log(2)


@dataclass(frozen=True)
class Own:
    """Own items (M, K) of each row, PAD where there are fewer, with weights (M, K), 0 at PAD.

    The bias (M, K) is added to their scores. No gradient reaches weights and bias.
    """

    items_MK: Tensor
    weights_MK: Tensor
    bias_MK: Tensor | None = None


@dataclass(frozen=True)
class Competitors:
    """Shared competitors (S,), None: the whole catalogue; bias (S,) is added to their scores.

    bf16: products are computed in bfloat16, sums in float32.
    """

    items_S: Tensor | None = None
    bias_S: Tensor | None = None
    bf16: bool = False


def softmax_cross_entropy(states_MD: Tensor, table_ND: Tensor, own: Own, others: Competitors) -> Tensor:
    """Return the mean over M of −Σ_K weight · log( e^own / (Σ_K e^own + Σ_S e^other) ).

    A competitor that is among a row's own items does not count in that row.
    """
    apply: Callable[..., Tensor] = _SoftmaxAgainst.apply
    return apply(states_MD, table_ND, own, others)


def _twice(items_MK: Tensor, others_S: Tensor | None, n_rows: int) -> tuple[Tensor, Tensor]:
    """(P,) rows, ascending, and (P,) columns of competitors that are among a row's own items."""
    if others_S is None:
        rows, places = (items_MK != PAD).nonzero(as_tuple=True)
        return rows, items_MK[rows, places] - PAD - 1
    drawn_N = torch.zeros(n_rows, dtype=torch.bool, device=others_S.device)
    drawn_N[others_S] = True
    # few items are, so only these are compared with every competitor
    rows, places = drawn_N[items_MK].nonzero(as_tuple=True)
    pairs, columns = (items_MK[rows, places][:, None] == others_S).nonzero(as_tuple=True)
    return rows[pairs], columns


def _plus(scores: Tensor, bias: Tensor | None) -> Tensor:
    """In place; the scores are in units of ln 2."""
    return scores if bias is None else scores.add_(bias, alpha=_PER_LN2)


class _SoftmaxAgainst(Function):
    """Loss and gradients in one pass over chunks of rows; `backward` only scales the gradients."""

    @staticmethod
    def forward(ctx: Any, states_MD: Tensor, table_ND: Tensor, own_items: Own, others: Competitors) -> Tensor:
        items_MK, weights_MK, bias_MK = own_items.items_MK, own_items.weights_MK, own_items.bias_MK
        others_S, bias_S = others.items_S, others.bias_S
        rows, columns = _twice(items_MK, others_S, len(table_ND))
        n, k = items_MK.shape
        others_SD = table_ND[PAD + 1 :] if others_S is None else table_ND[others_S]
        kind = torch.bfloat16 if others.bf16 else states_MD.dtype
        inputs_MD, competitors_SD = (states_MD * _PER_LN2).to(kind), others_SD.to(kind)
        states_grad, table_grad = torch.empty_like(states_MD), torch.zeros_like(table_ND)
        others_grad = table_grad[PAD + 1 :] if others_S is None else torch.zeros_like(others_SD)
        total = states_MD.new_zeros(())
        chunk = _CHUNK_ELEMENTS if states_MD.device.type == "cpu" else _CHUNK_ELEMENTS_GPU
        size = max(_LEAST_ROWS, chunk // (len(others_SD) + k * states_MD.shape[1]))
        held_rows = size * _CHUNKS_HELD
        held_RS = inputs_MD.new_empty(min(held_rows, n), len(others_SD))
        weighted_RD = inputs_MD.new_empty(min(held_rows, n), states_MD.shape[1])
        starts = torch.arange(0, n + size, size, device=rows.device)
        bounds = torch.searchsorted(rows, starts).tolist()
        for step, first in enumerate(range(0, n, size)):
            part, pairs = slice(first, first + size), slice(bounds[step], bounds[step + 1])
            scores = _plus((inputs_MD[part] @ competitors_SD.T).float(), bias_S)
            scores[rows[pairs] - first, columns[pairs]] = -torch.inf
            items, weights, states = items_MK[part], weights_MK[part], states_MD[part]
            vectors = table_ND.index_select(0, items.reshape(-1)).view(*items.shape, -1)
            own = torch.bmm(vectors, states[:, :, None]).squeeze(2).mul_(_PER_LN2)
            own = _plus(own, None if bias_MK is None else bias_MK[part])
            counted = own.masked_fill(items == PAD, -torch.inf)
            top = torch.maximum(scores.amax(1), counted.amax(1))
            share, own_share = scores.sub_(top[:, None]).exp2_(), (counted - top[:, None]).exp2()
            mass, weight = share.sum(1) + own_share.sum(1), weights.sum(1)
            total += ((weight * (mass.log2() + top)).sum() - (weights * own).sum()) / _PER_LN2
            # the rows' factors are applied to the narrow sides of the products
            factor = (weight / mass)[:, None]
            own_grad = own_share * factor - weights
            at = first % held_rows
            until = at + len(share)
            share = held_RS[at:until].copy_(share)
            weighted_RD[at:until] = states * factor
            states_grad[part] = (share @ competitors_SD).float() * factor
            states_grad[part] += torch.bmm(own_grad[:, None], vectors).squeeze(1)
            if until == held_rows or first + size >= n:
                others_grad += held_RS[:until].T @ weighted_RD[:until]
            added = own_grad[:, :, None] * states[:, None]
            table_grad.index_add_(0, items.reshape(-1), added.reshape(len(items) * k, -1))
        if others_S is not None:
            table_grad.index_add_(0, others_S, others_grad)
        ctx.save_for_backward(states_grad, table_grad)
        ctx.count = max(1, n)
        return total / ctx.count

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        states_grad, table_grad = ctx.saved_tensors
        scale = grad / ctx.count
        return states_grad.mul_(scale), table_grad.mul_(scale), None, None
