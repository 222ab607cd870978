"""eSASRec, https://arxiv.org/abs/2508.06450: SASRec with the gated layers of LiGR, https://arxiv.org/abs/2502.03417.

The output of each layer is multiplied by a gate computed from its input; the feed-forward is SwiGLU, the norms are RMS.
Train it with sampled softmax, as its authors do.
"""

# Shapes: B batch, T sequence ≤ max_length, D embedding_dim

import torch
from torch import Tensor, nn
from torch.nn import functional

from retort.offline.students._blocks import PooledDropout, SelfAttention
from retort.offline.students._stack import StackStudent
from retort.offline.students.configs.esasrec import Config


class Model(StackStudent):
    """Causal self-attention in gated layers."""

    config: Config

    def __init__(self, config: Config, n_items: int) -> None:
        super().__init__(config, n_items)
        self.initialise()

    def new_block(self) -> nn.Module:
        config = self.config
        return GatedBlock(config.embedding_dim, config.n_heads, config.dropout, config.expansion)

    def new_norm(self) -> nn.Module:
        return RMSNorm(self.config.embedding_dim)


class GatedBlock(nn.Module):
    """x + attention(norm x) · σ(gate x), then the same with a SwiGLU."""

    def __init__(self, dim: int, n_heads: int, dropout: float, expansion: int) -> None:
        super().__init__()
        self.norm_attention, self.norm_feed = RMSNorm(dim), RMSNorm(dim)
        self.attention = SelfAttention(dim, n_heads)
        self.feed = SwiGLU(dim, expansion * dim)
        self.gate_attention, self.gate_feed = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.dropout = PooledDropout(dropout)

    def forward(self, x_BTD: Tensor, mask_B1TT: Tensor, *, only_last: bool = False) -> Tensor:
        x_BQD = x_BTD[:, -1:] if only_last else x_BTD
        attended_BQD = self.attention(self.norm_attention(x_BTD), mask_B1TT, only_last=only_last)
        x_BQD = x_BQD + self.dropout(attended_BQD * self.gate_attention(x_BQD).sigmoid())
        return x_BQD + self.dropout(self.feed(self.norm_feed(x_BQD)) * self.gate_feed(x_BQD).sigmoid())


class SwiGLU(nn.Module):
    """Gated feed-forward layer, https://arxiv.org/abs/2002.05202."""

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.project_in = nn.Linear(dim, 2 * inner, bias=False)
        self.project_out = nn.Linear(inner, dim, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        gate, value = self.project_in(x_BTD).chunk(2, dim=-1)
        return self.project_out(functional.silu(gate) * value)


class RMSNorm(nn.Module):
    """RMS normalisation, written out because the opset that serving reads has no such node."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x_BTD: Tensor) -> Tensor:
        return x_BTD * torch.rsqrt(x_BTD.square().mean(-1, keepdim=True) + 1e-6) * self.weight
