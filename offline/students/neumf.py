"""NeuMF, https://arxiv.org/abs/1708.05031: generalised matrix factorisation (GMF) and an MLP over user and item.

Instead of the paper's user vectors, a user is the mean of the items so far, so every user with a history can be served.
Its scores are not inner products; docs/decisions/0006 explains how they are served and what that costs.
"""

# Shapes: B batch, T sequence, D embedding_dim = G multiplied + R read by the layers, M states, K items,
#         H width of a layer, X any shape

import math
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from retort.offline.students._base import Student, real_positions
from retort.offline.students._blocks import PooledDropout
from retort.offline.students.configs.neumf import Config
from retort.shared.base.errors import RecipeError

# Floats of the widest layer over the pairs held at once: during training, and for one request to the graph.
_PAIRS_FLOATS = 1 << 23
_QUESTION_FLOATS = 1 << 27


class Model(Student):
    """User vector of two parts, for GMF and for the MLP; one state."""

    ordered: ClassVar[bool] = False
    inner_product: ClassVar[bool] = False
    config: Config

    def __init__(self, config: Config, n_items: int) -> None:
        super().__init__(config, n_items)
        dim = config.embedding_dim
        read = config.read_dim or dim // 2
        _check(config, read, n_items)
        self.n_multiplied = dim - read
        self.project = nn.Linear(dim, dim)
        self.tower = Tower(read, config.layers, config.dropout)
        self.pairs = nn.Identity()  # an objective can capture the MLP's output for a user and an item here
        self.weigh = nn.Parameter(torch.ones(self.n_multiplied))
        self.join = nn.Linear(config.layers[-1], 1)
        self.initialise_items()

    def hidden_states(self, items_BT: Tensor) -> list[Tensor]:
        x_BTD, real_BT1 = self.embed(items_BT), real_positions(items_BT).unsqueeze(-1)
        mean_BTD = (x_BTD * real_BT1).cumsum(1) / real_BT1.cumsum(1).clamp(min=1)
        state_BTD = self.project(mean_BTD)
        if self.training:  # scoring needs no such pair: the item at a position is known
            self.pairs(self.tower(state_BTD[..., self.n_multiplied :], x_BTD[..., self.n_multiplied :]).float())
        return [state_BTD]

    def match(self, states_XD: Tensor, items_XD: Tensor) -> Tensor:
        g = self.n_multiplied
        multiplied_X = (states_XD[..., :g] * self.weigh * items_XD[..., :g]).sum(-1)
        read_X = self.join(self.tower(states_XD[..., g:], items_XD[..., g:])).squeeze(-1)
        return multiplied_X + read_X

    def scores(self, states_MD: Tensor, items_KD: Tensor) -> Tensor:
        """Score a few states at a time; the layers of all pairs at once would not fit into memory."""
        size = max(1, _PAIRS_FLOATS // (len(items_KD) * max(self.config.layers)))
        if len(states_MD) <= size:
            return self.match(states_MD[:, None], items_KD)
        parts = states_MD.split(size)
        if torch.is_grad_enabled():
            return torch.cat([checkpoint(self.match, one[:, None], items_KD, use_reentrant=False) for one in parts])
        return torch.cat([self.match(one[:, None], items_KD) for one in parts])


class Tower(nn.Module):
    """MLP over user and item; the first layer reads each side alone and adds, so pairs are never concatenated."""

    def __init__(self, read: int, widths: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        self.dropout = PooledDropout(dropout)
        self.read_user = nn.Linear(read, widths[0])
        self.read_item = nn.Linear(read, widths[0], bias=False)
        self.deeper = nn.ModuleList(nn.Linear(one, other) for one, other in pairwise(widths))
        for layer in (self.read_user, self.read_item):
            nn.init.normal_(layer.weight, std=math.sqrt(1 / read))

    def forward(self, users_XR: Tensor, items_XR: Tensor) -> Tensor:
        """Return the output (..., last width); the two shapes broadcast."""
        hidden_XH = (self.read_user(self.dropout(users_XR)) + self.read_item(self.dropout(items_XR))).relu()
        for layer in self.deeper:
            hidden_XH = layer(self.dropout(hidden_XH)).relu()
        return hidden_XH


def _check(config: Config, read: int, n_items: int) -> None:
    if (floats := n_items * max(config.layers)) > _QUESTION_FLOATS:
        raise RecipeError(
            f"[student] neumf would hold {floats * 4 / 2**20:,.0f} MB of layers for one request over {n_items:,} "
            "items; choose narrower layers, or a student whose scores are an inner product (simplex)."
        )
