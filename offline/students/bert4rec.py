"""BERT4Rec, https://arxiv.org/abs/1904.06690, tied item table, softmax over items, rows that mask the last item only.

A masked item is told from both sides; the next item is asked for by a mask put behind the history. The published code
of ECIR 2026 masks padding too, and leaves short rows without a target: here only items are masked, at least one a row.
"""

# Shapes: B batch, T sequence, D embedding_dim

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from offline.students._base import Examples, Student, StudentConfig
from offline.students._blocks import PooledDropout, TransformerBlock
from shared.schema import PAD


class Config(StudentConfig):
    """The paper masks 15 % of the items and adds rows with the last one masked, as it is when asked for the next."""

    n_blocks: int = Field(2, ge=1)
    n_heads: int = Field(2, ge=1)
    dropout: float = Field(0.2, ge=0, lt=1)
    expansion: int = Field(4, ge=1)
    mask_share: float = Field(0.15, gt=0, lt=1, description="of a row's items, at least one")
    last_item_share: float = Field(0.3, ge=0, le=1, description="of the rows: only their last item is masked")


class Model(Student):
    """Self-attention to both sides. The mask is a vector of its own, no row of the item table: it cannot be scored."""

    causal: ClassVar[bool] = False
    config: Config

    def __init__(self, config: Config, n_items: int) -> None:
        super().__init__(config, n_items)
        dim = config.embedding_dim
        self.mask_index = n_items + 1
        self.mask = nn.Parameter(torch.empty(dim))
        # one place more than a history has: the mask stands behind it
        self.positions = nn.Parameter(torch.empty(config.max_length + 1, dim))
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
        mask_B1TT = _real_keys(items_BT)
        x_BTD = self._embedded(items_BT)
        states: list[Tensor] = []
        for block in self.blocks:
            x_BTD = block(x_BTD, mask_B1TT)
            states.append(x_BTD)
        states[-1] = self.norm(states[-1])
        return states

    def last_state(self, items_BT: Tensor) -> Tensor:
        """(B, D): the state of the mask behind the history."""
        items_BT = functional.pad(items_BT, (0, 1), value=self.mask_index)
        mask_B1TT = _real_keys(items_BT)
        x_BTD = self._embedded(items_BT)
        for block in self.blocks[:-1]:
            x_BTD = block(x_BTD, mask_B1TT)
        return self.norm(self.blocks[-1](x_BTD, mask_B1TT, only_last=True))[:, -1]

    def examples(self, sequences_BT: Tensor) -> Examples:
        """Mask some items of each row, or only its last one."""
        masked_BT = self._masked(sequences_BT != PAD)
        return Examples(sequences_BT.masked_fill(masked_BT, self.mask_index), sequences_BT.masked_fill(~masked_BT, PAD))

    def _masked(self, real_BT: Tensor) -> Tensor:
        """(B, T) bool: never padding, and at least one of each row that has an item."""
        draws_BT = torch.rand(real_BT.shape, device=real_BT.device).masked_fill(~real_BT, 2.0)
        lowest_B1 = draws_BT.amin(1, keepdim=True)
        cloze_BT = (draws_BT < self.config.mask_share) | (draws_BT == lowest_B1)
        last_BT = torch.zeros_like(real_BT)
        last_BT[:, -1] = True
        only_last_B1 = torch.rand(len(real_BT), 1, device=real_BT.device) < self.config.last_item_share
        return torch.where(only_last_B1, last_BT, cloze_BT) & real_BT

    def _embedded(self, items_BT: Tensor) -> Tensor:
        masked_BT1 = (items_BT == self.mask_index).unsqueeze(-1)
        known_BT = items_BT.masked_fill(items_BT == self.mask_index, PAD)
        x_BTD = torch.where(masked_BT1, self.mask, self.embed(known_BT)) * self.config.embedding_dim**0.5
        return self.dropout(x_BTD + self.positions[self.positions.shape[0] - items_BT.shape[1] :])

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for vectors in (self.items.weight, self.mask):
            nn.init.normal_(vectors, std=self.config.embedding_dim**-0.5)
        nn.init.normal_(self.positions, std=0.02)
        with torch.no_grad():
            self.items.weight[PAD].zero_()


def _real_keys(items_BT: Tensor) -> Tensor:
    """(B, 1, T, T) bool: any place but padding may be looked at; every place may see itself, so no row is empty."""
    itself_TT = torch.eye(items_BT.shape[1], dtype=torch.bool, device=items_BT.device)
    return (items_BT != PAD)[:, None, None, :] | itself_TT
