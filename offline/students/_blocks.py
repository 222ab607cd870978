"""Layers that several students share.

Shapes: B batch, T sequence, D embedding_dim, H heads.
"""

from functools import cache
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from retort.shared.base.schema import PAD

_POOL_SIZE = 1 << 22  # floats; a few times the largest activation, so that offsets rarely repeat


class PooledDropout(nn.Module):
    """Dropout whose mask is a slice of a pool that is drawn once.

    On a CPU, one random number per element costs more than the matrix products around it; a random offset into a pool
    costs one random number. Accelerators use ordinary dropout.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        size = x.numel()
        if x.device.type != "cpu" or size > _POOL_SIZE:
            return functional.dropout(x, self.p)
        start = int(torch.randint(2 * _POOL_SIZE - size, ()))
        return x * _mask_pool(self.p)[start : start + size].view(x.shape)


@cache
def _mask_pool(p: float) -> Tensor:
    """0 with probability p, else 1 / (1 − p); the fixed seed gives a resumed run the same pool."""
    generator = torch.Generator().manual_seed(0)
    return torch.empty(2 * _POOL_SIZE).bernoulli_(1 - p, generator=generator).div_(1 - p)


def causal_mask(items_BT: Tensor) -> Tensor:
    """Return the causal attention mask (B, 1, T, T), True where attention is allowed; padding is masked.

    Every position may attend to itself: an empty row would be NaN after the softmax.
    """
    place_T = torch.arange(items_BT.shape[1], device=items_BT.device)
    not_ahead_TT = place_T[:, None] >= place_T
    itself_TT = place_T[:, None] == place_T
    real_B11T = (items_BT != PAD)[:, None, None, :]
    return (not_ahead_TT & real_B11T) | itself_TT


def apply_rowwise(layer: nn.Module, x_BTD: Tensor) -> Tensor:
    """Apply a position-wise layer to (B, T, D) as one matrix of rows; returns (B, T, E).

    The numbers are the same. In the exported graph product, bias and ReLU become one node instead of three.
    """
    return cast(Tensor, layer(x_BTD.flatten(0, 1)).unflatten(0, x_BTD.shape[:2]))


class SelfAttention(nn.Module):
    """Multi-head self-attention, for all positions or for the newest position only."""

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.project_in = nn.Linear(dim, 3 * dim)
        self.project_out = nn.Linear(dim, dim)

    def forward(self, x_BTD: Tensor, mask_B1QT: Tensor, *, only_last: bool = False) -> Tensor:
        q_BQD, k_BTD, v_BTD = (
            self._newest(x_BTD) if only_last else apply_rowwise(self.project_in, x_BTD).chunk(3, dim=-1)
        )
        mask_B1QT = mask_B1QT[:, :, -q_BQD.shape[1] :]
        out_BHQd = _attention(self._heads(q_BQD), self._heads(k_BTD), self._heads(v_BTD), mask_B1QT)
        return apply_rowwise(self.project_out, out_BHQd.transpose(1, 2).flatten(2))

    def _newest(self, x_BTD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query of the newest position (B, 1, D), keys and values of all positions (B, T, D)."""
        dim = x_BTD.shape[-1]
        weight, bias = self.project_in.weight, self.project_in.bias
        question_BD = functional.linear(x_BTD[:, -1], weight[:dim], bias[:dim])
        both_BTE = functional.linear(x_BTD.flatten(0, 1), weight[dim:], bias[dim:]).unflatten(0, x_BTD.shape[:2])
        k_BTD, v_BTD = both_BTE.chunk(2, dim=-1)
        return question_BD[:, None], k_BTD, v_BTD

    def _heads(self, x_BTD: Tensor) -> Tensor:
        return x_BTD.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)


def _attention(q_BHQd: Tensor, k_BHTd: Tensor, v_BHTd: Tensor, mask_B1QT: Tensor) -> Tensor:
    """Softmax attention; on a CPU in float32, because bfloat16 makes attention slower there."""
    if torch.compiler.is_exporting():
        return _explicit_attention(q_BHQd, k_BHTd, v_BHTd, mask_B1QT)
    if q_BHQd.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return functional.scaled_dot_product_attention(q_BHQd, k_BHTd, v_BHTd, attn_mask=mask_B1QT)
    with torch.autocast("cpu", enabled=False):
        return functional.scaled_dot_product_attention(
            q_BHQd.float(), k_BHTd.float(), v_BHTd.float(), attn_mask=mask_B1QT
        )


def _explicit_attention(q_BHQd: Tensor, k_BHTd: Tensor, v_BHTd: Tensor, mask_B1QT: Tensor) -> Tensor:
    """Softmax attention for export; the exporter's own form transposes the keys twice and searches empty rows."""
    logits_BHQT = (q_BHQd * q_BHQd.shape[-1] ** -0.5) @ k_BHTd.transpose(-1, -2)
    logits_BHQT = logits_BHQT + torch.where(mask_B1QT, 0.0, -torch.inf)
    return torch.softmax(logits_BHQT, dim=-1) @ v_BHTd


class TransformerBlock(nn.Module):
    """Pre-norm transformer block: attention and feed-forward with residual connections."""

    def __init__(self, dim: int, n_heads: int, dropout: float, expansion: int = 4) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(dim)
        self.attention = SelfAttention(dim, n_heads)
        self.norm_feed = nn.LayerNorm(dim)
        self.feed = nn.Sequential(nn.Linear(dim, expansion * dim), nn.ReLU(), nn.Linear(expansion * dim, dim))
        self.dropout = PooledDropout(dropout)

    def forward(self, x_BTD: Tensor, mask_B1TT: Tensor, *, only_last: bool = False) -> Tensor:
        kept_BQD = x_BTD[:, -1:] if only_last else x_BTD
        kept_BQD = kept_BQD + self.dropout(self.attention(self.norm_attention(x_BTD), mask_B1TT, only_last=only_last))
        return kept_BQD + self.dropout(apply_rowwise(self.feed, self.norm_feed(kept_BQD)))
