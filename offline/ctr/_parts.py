"""Parts that both CTR models share: embedded fields and deep layers.

Shapes: B batch, F fields, D embedding_dim, H width of the last layer, L values of a field.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from retort.offline.ctr.data import CtrData
from retort.offline.ctr.kar import HybridExperts


class Fields(nn.Module):
    """Embeddings of the fields: user, item, item attributes, and with `experts` two knowledge vectors of KAR."""

    def __init__(self, data: CtrData, dim: int, experts: HybridExperts | None) -> None:
        super().__init__()
        self.users = _table(len(data.users.vectors), dim)
        self.tables = nn.ModuleList(_table(size, dim) for size in data.field_sizes)
        self.values = [torch.from_numpy(values) for values in data.fields_IL]
        self.experts = experts
        self.count = 1 + len(self.tables) + (2 if experts is not None else 0)

    def forward(self, users_B: Tensor, items_B: Tensor) -> Tensor:
        """Embed the pairs; (B, F, D). A field with several values is their mean."""
        vectors = [self.users(users_B)]
        for values_IL, table in zip(self.values, self.tables, strict=True):
            values_BL = values_IL[items_B]
            n_B1 = (values_BL > 0).sum(1, keepdim=True).clamp(min=1)
            vectors.append(table(values_BL).sum(1) / n_B1)
        if self.experts is not None:
            vectors += self.experts(users_B, items_B)
        return torch.stack(vectors, 1)


def _table(size: int, dim: int) -> nn.Embedding:
    """Embedding whose row 0, for unknown values, stays zero."""
    table = nn.Embedding(size, dim, padding_idx=0)
    nn.init.normal_(table.weight, std=0.1 * dim**-0.5)
    with torch.no_grad():
        table.weight[0].zero_()
    return table


def make_deep_layers(width: int, layers: tuple[int, ...], dropout: float) -> nn.Sequential:
    """Make layers of Linear, ReLU and dropout with the given widths."""
    parts: list[nn.Module] = []
    for n_in, n_out in pairwise((width, *layers)):
        parts += [nn.Linear(n_in, n_out), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*parts)
