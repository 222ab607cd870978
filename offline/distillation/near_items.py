"""The items whose texts are nearest to the item that came next, as soft targets beside it. Past the papers.

Who took this one might as well have taken one that reads alike: clicks are too few to say so of rare items, texts do.

Shapes: N n_items + 1, E width of the text vectors, K nearest items, M asked positions, D embedding_dim.
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from offline.distillation._asked import log_shares
from offline.distillation._base import Objective, ObjectiveConfig, StudentOutput, nothing
from offline.distillation._item_vectors import item_targets
from offline.students._base import Student
from offline.teachers.teacher import Teacher
from shared.schema import PAD

_ITEMS_AT_ONCE = 1024


class Config(ObjectiveConfig):
    """A low weight: what reads alike is a guess, what was taken is a fact."""

    weight: float = Field(0.1, ge=0)
    k: int = Field(10, ge=1, description="nearest items of each item, itself left out")
    temperature: float = Field(0.1, gt=0, description="of the softmax over their cosines")
    negatives: int = Field(512, ge=0, description="sampled competitors; 0: the catalogue")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"items"})


class Model(Objective):
    """Cross-entropy from the next item's neighbours to what the state scores, averaged over positions that have any."""

    reads_products: ClassVar[bool] = True
    config: Config
    known_N: Tensor
    near_NK: Tensor
    shares_NK: Tensor

    def __init__(self, config: Config, student: Student, teacher: Teacher) -> None:
        super().__init__(config, student, teacher)
        items = item_targets(teacher, "near_items")
        cosines_NK, near_NK = _nearest(items.vectors_NE, items.known_N, min(config.k, int(items.known_N.sum()) - 1))
        self.register_buffer("known_N", items.known_N, persistent=False)
        self.register_buffer("near_NK", near_NK, persistent=False)
        self.register_buffer("shares_NK", (cosines_NK / config.temperature).softmax(-1), persistent=False)

    def forward(self, output: StudentOutput) -> Tensor:
        cells_BT = (output.targets_BT != PAD) & self.known_N[output.targets_BT]
        targets_M = output.targets_BT[cells_BT]
        if not len(targets_M):
            return nothing(output)
        states_MD = output.states[-1][cells_BT]
        logs_MK = log_shares(states_MD, output.table_ND, self.near_NK[targets_M], self.config.negatives)
        return -(self.shares_NK[targets_M] * logs_MK).sum(-1).mean()


def _nearest(vectors_NE: Tensor, known_N: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """(N, K) cosines and indexes of the nearest other known items; what all texts have in common is taken out first."""
    centred_NE = functional.normalize(vectors_NE - vectors_NE[known_N].mean(0), dim=-1)
    hidden_N = ~known_N
    hidden_N[PAD] = True
    found = []
    for rows in torch.arange(len(vectors_NE)).split(_ITEMS_AT_ONCE):
        cosines = (centred_NE[rows] @ centred_NE.T).masked_fill(hidden_N, -torch.inf)
        cosines[torch.arange(len(rows)), rows] = -torch.inf
        found.append(cosines.topk(k))
    return torch.cat([one.values for one in found]), torch.cat([one.indices for one in found])
