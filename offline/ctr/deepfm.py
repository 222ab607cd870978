"""DeepFM, https://arxiv.org/abs/1703.04247: every pair of fields multiplied, beside layers over all of them."""

# Shapes: B batch, F fields, D embedding_dim, H width of the last layer

from torch import Tensor, nn

from retort.offline.ctr._parts import Fields, deep
from retort.offline.ctr.config import CtrConfig


class Model(nn.Module):
    """Users and items → logits (B,) and what the layers hold of them (B, H)."""

    def __init__(self, config: CtrConfig, fields: Fields) -> None:
        super().__init__()
        self.fields = fields
        width = fields.count * config.embedding_dim
        self.first = nn.Linear(width, 1)  # of the same vectors: the paper has a weight for each value in their place
        self.deep = deep(width, config.layers, config.dropout)
        self.join = nn.Linear(config.layers[-1], 1, bias=False)

    def forward(self, users_B: Tensor, items_B: Tensor) -> tuple[Tensor, Tensor]:
        x_BFD = self.fields(users_B, items_B)
        pairs_B = 0.5 * (x_BFD.sum(1).square() - x_BFD.square().sum(1)).sum(-1)
        hidden_BH = self.deep(x_BFD.flatten(1))
        logits_B1 = self.first(x_BFD.flatten(1)) + self.join(hidden_BH)
        return logits_B1.squeeze(-1) + pairs_B, hidden_BH
