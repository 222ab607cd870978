"""What the teacher knows of each item, brought to a student's width.

Shapes: N n_items + 1, E width of the text vectors, P wanted width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from retort.offline.teachers.teacher import Teacher
from retort.shared.base.errors import TeacherError


@dataclass(frozen=True)
class ItemTargets:
    """vectors (N, E), known (N,) bool; PAD and unknown items are zero."""

    vectors_NE: Tensor
    known_N: Tensor


def item_targets(teacher: Teacher, objective: str) -> ItemTargets:
    """The teacher's item vectors; raises TeacherError where it has none."""
    if teacher.item_vectors is None or teacher.has_item is None:
        raise TeacherError(f"the objective {objective!r} needs item vectors; give the items a text and encode them.")
    return ItemTargets(torch.from_numpy(teacher.item_vectors), torch.from_numpy(teacher.has_item))


def whitened(targets: ItemTargets, width: int, power: float) -> ItemTargets:
    """The first `width` principal components, each divided by its deviation^power; mean square 1 over known items.

    power 0 is PCA, 1 makes all directions equally loud, ½ stands between. Where the text has fewer directions than
    `width`, the others are zero.
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
