"""HSTU, https://arxiv.org/abs/2402.17152, without its time buckets: attention without a softmax, gated.

Each pair of positions weighs SiLU(q·k + a bias of their distance) divided by the length that may be looked at, so a
history with much of one thing says it loudly, which a softmax hides.
"""

# Shapes: B batch, T sequence ≤ max_length, D embedding_dim, H heads, d head width

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from offline.students._base import Student, StudentConfig
from offline.students._blocks import PooledDropout, causal_mask
from shared.schema import PAD


class Config(StudentConfig):
    """One layer does the work of attention and feed-forward, so it is made of one block where SASRec has two parts."""

    n_blocks: int = Field(2, ge=1)
    n_heads: int = Field(2, ge=1)
    dropout: float = Field(0.2, ge=0, lt=1)


class Model(Student):
    """Causal pointwise attention over the items."""

    config: Config

    def __init__(self, config: Config, n_items: int) -> None:
        super().__init__(config, n_items)
        dim = config.embedding_dim
        self.positions = nn.Parameter(torch.empty(config.max_length, dim))
        self.dropout = PooledDropout(config.dropout)
        self.blocks = nn.ModuleList(
            PointwiseBlock(dim, config.n_heads, config.dropout, config.max_length) for _ in range(config.n_blocks)
        )
        self.norm = nn.LayerNorm(dim)
        self._initialise()

    @property
    def n_blocks(self) -> int:
        return self.config.n_blocks

    def hidden_states(self, items_BT: Tensor) -> list[Tensor]:
        mask_B1TT = causal_mask(items_BT)
        length = items_BT.shape[1]
        x_BTD = self.embed(items_BT) * self.config.embedding_dim**0.5
        x_BTD = self.dropout(x_BTD + self.positions[self.config.max_length - length :])
        states: list[Tensor] = []
        for block in self.blocks:
            x_BTD = block(x_BTD, mask_B1TT)
            states.append(x_BTD)
        states[-1] = self.norm(states[-1])
        return states

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.items.weight, std=self.config.embedding_dim**-0.5)
        nn.init.normal_(self.positions, std=0.02)
        with torch.no_grad():
            self.items.weight[PAD].zero_()


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

    def forward(self, x_BTD: Tensor, mask_B1TT: Tensor) -> Tensor:
        u_BTD, v_BTD, q_BTD, k_BTD = functional.silu(self.project_in(self.norm_in(x_BTD))).chunk(4, dim=-1)
        scores_BHTT = self._heads(q_BTD) @ self._heads(k_BTD).transpose(-1, -2) + self._distances(x_BTD)
        seen_B1T1 = mask_B1TT.sum(-1, keepdim=True).to(x_BTD.dtype)
        weights_BHTT = functional.silu(scores_BHTT) * mask_B1TT / seen_B1T1
        read_BTD = (weights_BHTT @ self._heads(v_BTD)).transpose(1, 2).flatten(2)
        return x_BTD + self.dropout(self.project_out(self.norm_out(read_BTD) * u_BTD))

    def _distances(self, x_BTD: Tensor) -> Tensor:
        """(H, T, T): a learnt bias by how far back a position is."""
        times_T = torch.arange(x_BTD.shape[1], device=x_BTD.device)
        return self.distance[:, (times_T[:, None] - times_T).clamp(min=0)]

    def _heads(self, x_BTD: Tensor) -> Tensor:
        return x_BTD.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
