"""Item vectors of the teacher, as targets of an objective: alignment, whitening and nearest items.

Shapes: N n_items + 1, E width of the text vectors, P width of the whitened vectors, R rows, K nearest items.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from retort.offline.teachers.teacher import Teacher
from retort.shared.base.errors import TeacherError
from retort.shared.base.schema import PAD

_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class ItemTargets:
    """Vectors (N, E) and mask of known items (N,); PAD and unknown items are zero."""

    vectors_NE: Tensor
    known_N: Tensor


def item_targets(teacher: Teacher, objective: str) -> ItemTargets:
    """Return the teacher's item vectors.

    Raises:
        TeacherError: The teacher has none.
    """
    if teacher.item_vectors is None or teacher.has_item is None:
        raise TeacherError(f"the objective {objective!r} needs item vectors; give the items a text and encode them.")
    return ItemTargets(torch.from_numpy(teacher.item_vectors), torch.from_numpy(teacher.has_item))


def whitened(targets: ItemTargets, width: int, power: float) -> ItemTargets:
    """Return the first `width` principal components, partially whitened, with mean square 1 over known items.

    Components beyond the rank of the vectors are zero.

    Args:
        targets: Vectors of the items.
        width: Number of components.
        power: Each component is divided by its deviation to this power; 0: PCA, 1: full whitening.
    """
    known_KE = targets.vectors_NE[targets.known_N].double()
    centred_KE = known_KE - known_KE.mean(0)
    covariance_EE = centred_KE.T @ centred_KE / max(1, len(centred_KE))
    variances_E, directions_EE = torch.linalg.eigh(covariance_EE)
    kept = [index for index in variances_E.argsort(descending=True)[:width].tolist() if variances_E[index] > 1e-12]
    scores_KP = centred_KE @ directions_EE[:, kept] / variances_E[kept] ** (power / 2)
    scores_KP = functional.pad(scores_KP, (0, width - len(kept)))
    scores_KP = scores_KP / scores_KP.square().mean().sqrt().clamp(min=1e-12)
    vectors_NP = torch.zeros(len(targets.known_N), width)
    vectors_NP[targets.known_N] = scores_KP.float()
    return ItemTargets(vectors_NP, targets.known_N)


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
