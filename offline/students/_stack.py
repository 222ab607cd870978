"""Base class of students made of attention blocks: position vectors, blocks, final norm and initialisation.

It is a base class and not a submodule, so that layers keep the short names (`blocks.1.attention`, `norm`) that recipes
and stored weights use.
"""

# Shapes: B batch, T sequence, D embedding_dim

import torch
from torch import Tensor, nn

from retort.offline.students._base import Student
from retort.offline.students._blocks import PooledDropout, causal_mask
from retort.offline.students.configs._base import StackConfig
from retort.shared.base.schema import PAD


class StackStudent(Student):
    """A stack of attention blocks over item and position vectors; a subclass chooses blocks, norm and attention mask.

    Positions are counted from the newest item, so a short sequence needs no padding to the full length. A block takes
    (x_BTD, mask, only_last=...); with only_last it returns the newest position only.
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
        """Make one block; all blocks of the stack are alike."""
        raise NotImplementedError

    def new_norm(self) -> nn.Module:
        """Make the norm after the last block."""
        return nn.LayerNorm(self.config.embedding_dim)

    def attention_mask(self, items_BT: Tensor) -> Tensor:
        """Return the attention mask (B, 1, T, T), True where attention is allowed; causal by default."""
        return causal_mask(items_BT)

    def vectors(self, items_BT: Tensor) -> Tensor:
        """Return the input vectors (B, T, D) before position vectors are added."""
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
        """Initialise all weights; a subclass calls it at the end of its constructor.

        Args:
            vectors: Further parameters that are initialised like item vectors.
        """
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
