"""BERT4Rec, https://arxiv.org/abs/1904.06690, tied item table, softmax over items, rows that mask the last item only.

A masked item is predicted from both sides; the next item is predicted at a mask appended to the history. The published
code of ECIR 2026 also masks padding and leaves short rows without a target. Here only items are masked, at least one
per row.
"""

# Shapes: B batch, T sequence, D embedding_dim

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from retort.offline.students._base import Examples
from retort.offline.students._blocks import TransformerBlock
from retort.offline.students._stack import StackStudent
from retort.offline.students.configs.bert4rec import Config
from retort.shared.base.schema import PAD


class Model(StackStudent):
    """Bidirectional self-attention. The mask has its own vector outside the item table, so it is never scored."""

    causal: ClassVar[bool] = False
    # Not n_items + 1: a table that grows has an item there.
    mask_index: ClassVar[int] = -1
    config: Config

    def __init__(self, config: Config, n_items: int) -> None:
        # one position more than a history has, for the appended mask
        super().__init__(config, n_items, n_positions=config.max_length + 1)
        self.mask = nn.Parameter(torch.empty(config.embedding_dim))
        self.initialise(self.mask)

    def new_block(self) -> nn.Module:
        config = self.config
        return TransformerBlock(config.embedding_dim, config.n_heads, config.dropout, config.expansion)

    def attention_mask(self, items_BT: Tensor) -> Tensor:
        """Return the mask (B, 1, T, T): all but padding; each position may attend to itself, so no row is empty."""
        itself_TT = torch.eye(items_BT.shape[1], dtype=torch.bool, device=items_BT.device)
        return (items_BT != PAD)[:, None, None, :] | itself_TT

    def vectors(self, items_BT: Tensor) -> Tensor:
        masked_BT = items_BT == self.mask_index
        return torch.where(masked_BT.unsqueeze(-1), self.mask, self.embed(items_BT.masked_fill(masked_BT, PAD)))

    def last_state(self, items_BT: Tensor) -> Tensor:
        """Return the state (B, D) of the mask appended to the history."""
        return super().last_state(functional.pad(items_BT, (0, 1), value=self.mask_index))

    def examples(self, sequences_BT: Tensor) -> Examples:
        """Mask some items of each row, or only its last one."""
        masked_BT = self._masked(sequences_BT != PAD)
        return Examples(sequences_BT.masked_fill(masked_BT, self.mask_index), sequences_BT.masked_fill(~masked_BT, PAD))

    def _masked(self, real_BT: Tensor) -> Tensor:
        """(B, T) bool; never padding, and at least one position of each row that has an item."""
        draws_BT = torch.rand(real_BT.shape, device=real_BT.device).masked_fill(~real_BT, 2.0)
        lowest_B1 = draws_BT.amin(1, keepdim=True)
        cloze_BT = (draws_BT < self.config.mask_share) | (draws_BT == lowest_B1)
        last_BT = torch.zeros_like(real_BT)
        last_BT[:, -1] = True
        only_last_B1 = torch.rand(len(real_BT), 1, device=real_BT.device) < self.config.last_item_share
        return torch.where(only_last_B1, last_BT, cloze_BT) & real_BT
