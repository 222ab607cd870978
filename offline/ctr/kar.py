"""Hybrid experts of KAR (arXiv 2306.10933): knowledge of users and items as input of a CTR model.

The text vector of a user or item passes shared experts and experts of its side. A gate that reads the same vector mixes
their outputs into one more field of the model. Unlike LLM-KT, every prediction requires the text vectors.
"""

# Shapes: B batch, E width of the text vectors, D embedding_dim, X experts of a side

import torch
from torch import Tensor, nn

from retort.offline.ctr.data import CtrData
from retort.offline.teachers.teacher import Aligned


class HybridExperts(nn.Module):
    """Mixture of experts: users and items of a batch → two vectors (B, D), zero where no knowledge is present."""

    def __init__(self, data: CtrData, dim: int, n_shared: int, n_own: int) -> None:
        super().__init__()
        width = data.users.vectors.shape[1]
        self.users_UE, self.items_IE = _standardize(data.users), _standardize(data.items)
        self.shared = _experts(width, dim, n_shared)
        self.of_users, self.of_items = _experts(width, dim, n_own), _experts(width, dim, n_own)
        self.gate_users, self.gate_items = (nn.Linear(width, n_shared + n_own) for _ in range(2))

    def forward(self, users_B: Tensor, items_B: Tensor) -> list[Tensor]:
        users_BE, items_BE = self.users_UE[users_B], self.items_IE[items_B]
        return [
            self._side(users_BE, self.of_users, self.gate_users),
            self._side(items_BE, self.of_items, self.gate_items),
        ]

    def _side(self, known_BE: Tensor, own: nn.ModuleList, gate: nn.Linear) -> Tensor:
        outputs_BXD = torch.stack([expert(known_BE) for expert in (*self.shared, *own)], 1)
        mixed_BD = torch.einsum("bx,bxd->bd", gate(known_BE).softmax(-1), outputs_BXD)
        return mixed_BD * known_BE.any(-1, keepdim=True)


def _experts(width: int, dim: int, count: int) -> nn.ModuleList:
    return nn.ModuleList(
        nn.Sequential(nn.Linear(width, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim)) for _ in range(count)
    )


def _standardize(known: Aligned) -> Tensor:
    """Scale each component to mean 0 and variance 1 over the present rows; absent rows stay zero."""
    present = known.vectors[known.present]
    scaled = (known.vectors - present.mean(axis=0)) / (present.std(axis=0) + 1e-6)
    return torch.from_numpy(scaled * known.present[:, None])
