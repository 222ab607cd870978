"""DCN-v2 (arXiv 2008.13535), parallel form: cross layers with full matrices, plus deep layers."""

# Shapes: B batch, W fields × embedding_dim, H width of the last layer

import torch
from torch import Tensor, nn

from retort.offline.ctr._parts import Fields, make_deep_layers
from retort.offline.ctr.config import CtrConfig


class Model(nn.Module):
    """DCN-v2 model: users and items → logits (B,) and activations of the last deep layer (B, H)."""

    def __init__(self, config: CtrConfig, fields: Fields) -> None:
        super().__init__()
        self.fields = fields
        width = fields.count * config.embedding_dim
        self.cross = nn.ModuleList(nn.Linear(width, width) for _ in range(config.n_cross))
        self.deep = make_deep_layers(width, config.layers, config.dropout)
        self.join = nn.Linear(width + config.layers[-1], 1)

    def forward(self, users_B: Tensor, items_B: Tensor) -> tuple[Tensor, Tensor]:
        start_BW = self.fields(users_B, items_B).flatten(1)
        crossed_BW = start_BW
        for layer in self.cross:
            crossed_BW = start_BW * layer(crossed_BW) + crossed_BW
        hidden_BH = self.deep(start_BW)
        return self.join(torch.cat([crossed_BW, hidden_BH], 1)).squeeze(-1), hidden_BH
