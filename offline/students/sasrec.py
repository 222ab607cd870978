"""SASRec, https://arxiv.org/abs/1808.09781, pre-norm, padded keys masked, trained by softmax instead of one negative.

Positions are counted from the newest item, so a short sequence needs no padding to the full length.
"""

# Shapes: B batch, T sequence ≤ max_length, D embedding_dim

import torch
from torch import Tensor, nn

from offline.students._base import Student, StudentConfig
from offline.students._blocks import PooledDropout, TransformerBlock, causal_mask


class Config(StudentConfig):
    """Two blocks and two heads are enough for most catalogues."""

    n_blocks: int = 2
    n_heads: int = 2
    dropout: float = 0.2
    expansion: int = 4


class Model(Student):
    """Causal self-attention over the items, scored against the same item table."""

    config: Config

    def __init__(self, config: Config, n_items: int) -> None:
        super().__init__(config, n_items)
        dim = config.embedding_dim
        self.positions = nn.Parameter(torch.empty(config.max_length, dim))
        self.dropout = PooledDropout(config.dropout)
        self.blocks = nn.ModuleList(
            TransformerBlock(dim, config.n_heads, config.dropout, config.expansion) for _ in range(config.n_blocks)
        )
        self.norm = nn.LayerNorm(dim)
        self._initialise()

    @property
    def n_blocks(self) -> int:
        return self.config.n_blocks

    def hidden_states(self, items_BT: Tensor) -> list[Tensor]:
        mask_B1TT = causal_mask(items_BT)
        x_BTD = self._embedded(items_BT)
        states: list[Tensor] = []
        for block in self.blocks:
            x_BTD = block(x_BTD, mask_B1TT)
            states.append(x_BTD)
        states[-1] = self.norm(states[-1])
        return states

    def last_state(self, items_BT: Tensor) -> Tensor:
        mask_B1TT = causal_mask(items_BT)
        x_BTD = self._embedded(items_BT)
        for block in self.blocks[:-1]:
            x_BTD = block(x_BTD, mask_B1TT)
        return self.norm(self.blocks[-1](x_BTD, mask_B1TT, only_last=True))[:, -1]

    def _embedded(self, items_BT: Tensor) -> Tensor:
        length = items_BT.shape[1]
        x_BTD = self.embed(items_BT) * self.config.embedding_dim**0.5
        return self.dropout(x_BTD + self.positions[self.config.max_length - length :])

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.items.weight, std=self.config.embedding_dim**-0.5)
        nn.init.normal_(self.positions, std=0.02)
        with torch.no_grad():
            self.items.weight[0].zero_()
