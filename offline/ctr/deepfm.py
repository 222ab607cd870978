"""DeepFM (arXiv 1703.04247): products of all pairs of fields, plus deep layers over all fields."""

# Shapes: B batch, F fields, D embedding_dim, H width of the last layer

from torch import Tensor, nn

from retort.offline.ctr._parts import Fields, make_deep_layers
from retort.offline.ctr.config import CtrConfig


class Model(nn.Module):
    """DeepFM model: users and items → logits (B,) and activations of the last deep layer (B, H)."""

    def __init__(self, config: CtrConfig, fields: Fields) -> None:
        super().__init__()
        self.fields = fields
        width = fields.count * config.embedding_dim
        self.first = nn.Linear(width, 1)  # reads the same vectors; the paper has a weight for each value instead
        self.deep = make_deep_layers(width, config.layers, config.dropout)
        self.join = nn.Linear(config.layers[-1], 1, bias=False)

    def forward(self, users_B: Tensor, items_B: Tensor) -> tuple[Tensor, Tensor]:
        x_BFD = self.fields(users_B, items_B)
        pairs_B = 0.5 * (x_BFD.sum(1).square() - x_BFD.square().sum(1)).sum(-1)
        hidden_BH = self.deep(x_BFD.flatten(1))
        logits_B1 = self.first(x_BFD.flatten(1)) + self.join(hidden_BH)
        return logits_B1.squeeze(-1) + pairs_B, hidden_BH
