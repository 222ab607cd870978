"""Caser, https://arxiv.org/abs/1809.07426: convolutions over the last items, without user vectors.

Without user vectors every user with a history can be served. Every position is trained; its input is the last `window`
items up to and including it. Scores are inner products with the item table instead of the paper's second table.
"""

# Shapes: B batch, T sequence, D embedding_dim, L window, F filters of one height, V vertical filters

import torch
from torch import Tensor, nn
from torch.nn import functional

from retort.offline.students._base import Student, real_positions
from retort.offline.students._blocks import PooledDropout
from retort.offline.students.configs.caser import Config


class Model(Student):
    """Horizontal and vertical convolutions, mapped to the width of the items; one state."""

    config: Config

    def __init__(self, config: Config, n_items: int) -> None:
        super().__init__(config, n_items)
        dim = config.embedding_dim
        self.window = min(config.window, config.max_length)
        heights = range(1, self.window + 1)
        self.horizontal = nn.ModuleList(nn.Conv1d(dim, config.horizontal_filters, height) for height in heights)
        self.vertical = nn.Conv1d(1, config.vertical_filters, self.window)
        width = config.horizontal_filters * self.window + config.vertical_filters * dim
        self.join = nn.Linear(width, dim)
        self.project = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.dropout = PooledDropout(config.dropout)
        self.initialise_items()

    def hidden_states(self, items_BT: Tensor) -> list[Tensor]:
        x_BTD = self.embed(items_BT) * self.config.embedding_dim**0.5 * real_positions(items_BT).unsqueeze(-1)
        # empty positions complete the first windows, so states do not depend on the amount of padding
        x_BDT = functional.pad(x_BTD.transpose(1, 2), (self.window - 1, 0))
        seen_BTW = torch.cat([self._horizontal(x_BDT), self._vertical(x_BDT)], 1).transpose(1, 2)
        joined_BTD = self.join(self.dropout(seen_BTW)).relu()
        return [self.norm(self.project(self.dropout(joined_BTD)))]

    def last_state(self, items_BT: Tensor) -> Tensor:
        return self.hidden_states(items_BT[:, -self.window :])[-1][:, -1]

    def _horizontal(self, x_BDT: Tensor) -> Tensor:
        """(B, F·L, T): maximum of each filter within the position's window, for each height."""
        found = []
        for height, convolution in enumerate(self.horizontal, start=1):
            answers_BFT = convolution(x_BDT).relu()
            found.append(functional.max_pool1d(answers_BFT, self.window - height + 1, stride=1))
        return torch.cat(found, 1)

    def _vertical(self, x_BDT: Tensor) -> Tensor:
        """(B, V·D, T): weighted sums of the items of the window."""
        batch, dim, length = x_BDT.shape
        sums = self.vertical(x_BDT.reshape(batch * dim, 1, length))
        return sums.reshape(batch, -1, sums.shape[-1])
