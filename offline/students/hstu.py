"""HSTU, https://arxiv.org/abs/2402.17152, without its time buckets: attention without a softmax, gated.

The weight of a pair of positions is SiLU(q·k + a bias of their distance) divided by the number of visible positions, so
that repeated interests add up, which a softmax hides. One layer replaces attention and feed-forward.
"""

# Shapes: B batch, T sequence ≤ max_length, Q query positions (all, or the newest), D embedding_dim, H heads

import torch
from torch import Tensor, nn
from torch.nn import functional

from retort.offline.students._blocks import PooledDropout
from retort.offline.students._stack import StackStudent
from retort.offline.students.configs.hstu import Config


class Model(StackStudent):
    """Causal pointwise attention over the items."""

    config: Config

    def __init__(self, config: Config, n_items: int) -> None:
        super().__init__(config, n_items)
        self.initialise()

    def new_block(self) -> nn.Module:
        config = self.config
        return PointwiseBlock(config.embedding_dim, config.n_heads, config.dropout, config.max_length)


class PointwiseBlock(nn.Module):
    """x + W( norm(attention of v) · u ), with u, v, q, k from one map and SiLU."""

    def __init__(self, dim: int, n_heads: int, dropout: float, max_length: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.norm_in, self.norm_out = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.project_in = nn.Linear(dim, 4 * dim)
        self.project_out = nn.Linear(dim, dim)
        self.distance = nn.Parameter(torch.zeros(n_heads, max_length))
        self.dropout = PooledDropout(dropout)

    def forward(self, x_BTD: Tensor, mask_B1QT: Tensor, *, only_last: bool = False) -> Tensor:
        u_BQD, v_BTD, q_BQD, k_BTD = functional.silu(self.project_in(self.norm_in(x_BTD))).chunk(4, dim=-1)
        distances_HQT = self._distances(x_BTD)
        if only_last:
            x_BTD, u_BQD, q_BQD = x_BTD[:, -1:], u_BQD[:, -1:], q_BQD[:, -1:]
            mask_B1QT, distances_HQT = mask_B1QT[:, :, -1:], distances_HQT[:, -1:]
        scores_BHQT = self._heads(q_BQD) @ self._heads(k_BTD).transpose(-1, -2) + distances_HQT
        seen_B1Q1 = mask_B1QT.sum(-1, keepdim=True).to(x_BTD.dtype)
        weights_BHQT = functional.silu(scores_BHQT) * mask_B1QT / seen_B1Q1
        read_BQD = (weights_BHQT @ self._heads(v_BTD)).transpose(1, 2).flatten(2)
        return x_BTD + self.dropout(self.project_out(self.norm_out(read_BQD) * u_BQD))

    def _distances(self, x_BTD: Tensor) -> Tensor:
        """(H, T, T): learnt bias by the distance of two positions."""
        times_T = torch.arange(x_BTD.shape[1], device=x_BTD.device)
        return self.distance[:, (times_T[:, None] - times_T).clamp(min=0)]

    def _heads(self, x_BTD: Tensor) -> Tensor:
        return x_BTD.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
