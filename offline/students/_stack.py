"""What students made of attention blocks share: places, blocks, a norm behind them, and how all of it starts.

A level between `Student` and these students, not a module inside them: their layers keep the short names
(`blocks.1.attention`, `norm`) by which recipes and stored weights know them.
"""

# Shapes: B batch, T sequence, D embedding_dim

import torch
from torch import Tensor, nn

from retort.offline.students._base import Student
from retort.offline.students._blocks import PooledDropout, causal_mask
from retort.offline.students.configs._base import StackConfig
from retort.shared.base.schema import PAD


class StackStudent(Student):
    """Items with learnt places go through blocks; a subclass says which blocks, which norm and who may look where.

    Places are counted from the newest item, so a short sequence needs no padding to the full length. A block takes
    (x_BTD, mask, only_last=...) and with only_last answers for the newest place alone.
    """

    config: StackConfig

    def __init__(self, config: StackConfig, n_items: int, n_positions: int | None = None) -> None:
        super().__init__(config, n_items)
        self.positions = nn.Parameter(torch.empty(n_positions or config.max_length, config.embedding_dim))
        self.dropout = PooledDropout(config.dropout)
        self.blocks = nn.ModuleList(self.new_block() for _ in range(config.n_blocks))
        self.norm = self.new_norm()

    @property
    def n_blocks(self) -> int:
        return self.config.n_blocks

    def new_block(self) -> nn.Module:
        """One block; its place in the stack does not matter."""
        raise NotImplementedError

    def new_norm(self) -> nn.Module:
        """What the last block's states pass."""
        return nn.LayerNorm(self.config.embedding_dim)

    def attention_mask(self, items_BT: Tensor) -> Tensor:
        """(B, 1, T, T) bool, True where a place may look. Here: at what is not ahead and no padding."""
        return causal_mask(items_BT)

    def vectors(self, items_BT: Tensor) -> Tensor:
        """(B, T, D): what is read at each place, before its place is added."""
        return self.embed(items_BT)

    def hidden_states(self, items_BT: Tensor) -> list[Tensor]:
        mask_B1TT = self.attention_mask(items_BT)
        x_BTD = self._with_positions(items_BT)
        states: list[Tensor] = []
        for block in self.blocks:
            x_BTD = block(x_BTD, mask_B1TT)
            states.append(x_BTD)
        states[-1] = self.norm(states[-1])
        return states

    def last_state(self, items_BT: Tensor) -> Tensor:
        mask_B1TT = self.attention_mask(items_BT)
        x_BTD = self._with_positions(items_BT)
        for block in self.blocks[:-1]:
            x_BTD = block(x_BTD, mask_B1TT)
        return self.norm(self.blocks[-1](x_BTD, mask_B1TT, only_last=True))[:, -1]

    def _with_positions(self, items_BT: Tensor) -> Tensor:
        x_BTD = self.vectors(items_BT) * self.config.embedding_dim**0.5
        return self.dropout(x_BTD + self.positions[self.positions.shape[0] - items_BT.shape[1] :])

    def initialise(self, *vectors: nn.Parameter) -> None:
        """Draw the first weights; `vectors` are drawn like the items'. A subclass calls it when it is whole."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for one in (self.items.weight, *vectors):
            nn.init.normal_(one, std=self.config.embedding_dim**-0.5)
        nn.init.normal_(self.positions, std=0.02)
        with torch.no_grad():
            self.items.weight[PAD].zero_()
