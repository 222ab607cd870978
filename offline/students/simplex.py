"""SimpleX, https://arxiv.org/abs/2109.12613: the mean of a user's items, scored by cosine. Made for loss = "ccl".

There are no user vectors, so every user with a history can be served. Scored item vectors have unit length, so that the
inner product of the graph is the cosine; a learnt scale keeps the order and gives softmax losses, which have no margin,
enough contrast.
"""

# Shapes: B batch, T sequence, D embedding_dim, N n_items + 1

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from retort.offline.students._base import Student, real_positions
from retort.offline.students._blocks import PooledDropout
from retort.offline.students.configs.simplex import Config


class Model(Student):
    """Linear map of the mean of the items so far; one state."""

    ordered: ClassVar[bool] = False
    config: Config

    def __init__(self, config: Config, n_items: int) -> None:
        super().__init__(config, n_items)
        dim = config.embedding_dim
        self.dropout = PooledDropout(config.dropout)
        self.project = nn.Linear(dim, dim, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(math.log(config.scale)))
        self.initialise_items()

    def hidden_states(self, items_BT: Tensor) -> list[Tensor]:
        real_BT1 = real_positions(items_BT).unsqueeze(-1)
        total_BTD = (self.dropout(self.embed(items_BT)) * real_BT1).cumsum(1)
        mean_BTD = total_BTD / real_BT1.cumsum(1).clamp(min=1)
        return [functional.normalize(self.project(mean_BTD), dim=-1) * self.log_scale.exp()]

    def item_table(self) -> Tensor:
        """Return the item vectors (N, D), of unit length; the vector of PAD stays zero."""
        return functional.normalize(super().item_table(), dim=-1)
