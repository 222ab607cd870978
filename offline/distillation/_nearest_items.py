"""Nearest items of each row of vectors, by cosine.

Shapes: R rows, N n_items + 1, E width of the text vectors, K nearest items.
"""

import torch
from torch import Tensor
from torch.nn import functional

from retort.offline.distillation._item_vectors import ItemTargets
from retort.shared.base.schema import PAD

_ROWS_AT_ONCE = 1024


def unit_items(items: ItemTargets) -> Tensor:
    """Return the centred item vectors (N, E) of unit length."""
    return functional.normalize(items.vectors_NE - items.vectors_NE[items.known_N].mean(0), dim=-1)


def nearest_items(
    rows_RE: Tensor, items_NE: Tensor, known_N: Tensor, k: int, *, rows_are_items: bool = False
) -> tuple[Tensor, Tensor]:
    """Return cosines (R, K) and indexes (R, K) of the nearest known items; an item is not its own neighbour."""
    hidden_N = ~known_N
    hidden_N[PAD] = True
    found = []
    for first in range(0, len(rows_RE), _ROWS_AT_ONCE):
        cosines = (rows_RE[first : first + _ROWS_AT_ONCE] @ items_NE.T).masked_fill(hidden_N, -torch.inf)
        if rows_are_items:
            cosines.diagonal(first).fill_(-torch.inf)
        found.append(cosines.topk(k))
    return torch.cat([one.values for one in found]), torch.cat([one.indices for one in found])
