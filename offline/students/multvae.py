"""Mult-VAE, https://arxiv.org/abs/1802.05814: a variational autoencoder over the bag of a user's items.

Made for loss = "full_softmax": the targets of a row are its own items, so the loss is the paper's multinomial one
divided by the mean number of items per row, and so is the Kullback-Leibler term. There are no user vectors, so every
user with a history can be served. The decoder has no item bias; its hidden layer can express popularity.
"""

# Shapes: B batch, T sequence, D embedding_dim (the hidden width), Z latent_dim, N n_items + 1

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from retort.offline.students._base import Examples, Student, real_positions
from retort.offline.students.configs.multvae import Config
from retort.shared.base.schema import PAD


class Model(Student):
    """Encoder and decoder over the whole bag; one state, the same at every position."""

    causal: ClassVar[bool] = False
    ordered: ClassVar[bool] = False
    config: Config
    steps: Tensor

    def __init__(self, config: Config, n_items: int) -> None:
        super().__init__(config, n_items)
        dim = config.embedding_dim
        self.bias = nn.Parameter(torch.zeros(dim))
        self.encode = nn.Linear(dim, 2 * config.latent_dim)
        self.decode = nn.Linear(config.latent_dim, dim)
        self.output = nn.Embedding(n_items + 1, dim, padding_idx=PAD)
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self._divergence_B: Tensor | None = None
        for table in (self.items, self.output):
            nn.init.xavier_normal_(table.weight)
            with torch.no_grad():
                table.weight[PAD].zero_()

    def hidden_states(self, items_BT: Tensor) -> list[Tensor]:
        mean_BZ, log_variance_BZ = self.encode(self._read(items_BT)).float().chunk(2, dim=-1)
        latent_BZ = mean_BZ
        if self.training:
            latent_BZ = mean_BZ + torch.randn_like(mean_BZ) * (0.5 * log_variance_BZ).exp()
            self._divergence_B = divergence(mean_BZ, log_variance_BZ)
        state_BD = self.decode(latent_BZ).tanh()
        return [state_BD.unsqueeze(1).expand(-1, items_BT.shape[1], -1)]

    def item_table(self) -> Tensor:
        """Return the decoder's item table (N, D); additions of objectives reach the encoder's table."""
        return self.output.weight

    def penalty(self, n_targets: int) -> Tensor | None:
        """Return the annealed Kullback-Leibler term of the last training batch, divided by its number of targets."""
        if self._divergence_B is None:
            return None
        weight = self.config.kl_cap * min(1.0, int(self.steps) / self.config.kl_steps)
        self.steps += 1
        term, self._divergence_B = weight * self._divergence_B.sum() / max(1, n_targets), None
        return term

    def examples(self, sequences_BT: Tensor) -> Examples:
        """Use the items of each row as inputs and as targets."""
        return Examples(sequences_BT, sequences_BT)

    def _read(self, items_BT: Tensor) -> Tensor:
        """(B, D): hidden layer of the bag of unit length; in training some items are dropped."""
        real_BT = real_positions(items_BT).float()
        share_BT = functional.dropout(real_BT, self.config.dropout, self.training)
        length_B1 = real_BT.sum(1, keepdim=True).clamp(min=1).sqrt()
        return (torch.einsum("bt,btd->bd", share_BT / length_B1, self.embed(items_BT).float()) + self.bias).tanh()


def divergence(mean_BZ: Tensor, log_variance_BZ: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence (B,) of each row's Gaussian from the standard one."""
    return 0.5 * (mean_BZ.square() + log_variance_BZ.exp() - 1 - log_variance_BZ).sum(-1)
