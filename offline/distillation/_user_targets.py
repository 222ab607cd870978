"""User vectors of the teacher, as targets of an objective, and the combination of several profiles of a user.

Shapes: U n_users, P width of the teacher's vectors, B batch, K profiles of a user, W width of each.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from retort.offline.distillation.configs._base import Combination
from retort.offline.teachers.teacher import Teacher
from retort.shared.base.errors import TeacherError


@dataclass(frozen=True)
class UserTargets:
    """Vectors (U, P), mask of known users (U,), and weights (U,) with mean 1 over the known users."""

    vectors_UP: Tensor
    known_U: Tensor
    weights_U: Tensor


def user_targets(teacher: Teacher, objective: str) -> UserTargets:
    """Return the teacher's user vectors.

    Raises:
        TeacherError: The teacher has none.
    """
    if teacher.user_vectors is None or teacher.has_user is None:
        raise TeacherError(f"the objective {objective!r} needs user vectors; add [profiles] to the recipe.")
    known_U = torch.from_numpy(teacher.has_user)
    weights_U = known_U.float() if teacher.user_weights is None else torch.from_numpy(teacher.user_weights)
    return UserTargets(torch.from_numpy(teacher.user_vectors), known_U, weights_U)


def standardise(targets: UserTargets) -> UserTargets:
    """Subtract the mean of the known users, which describes no user, and scale to unit length."""
    centred_UP = targets.vectors_UP - targets.vectors_UP[targets.known_U].mean(0)
    return replace(targets, vectors_UP=functional.normalize(centred_UP, dim=-1))


def split_profiles(targets: UserTargets, teacher: Teacher) -> Tensor:
    """Return the profiles (U, K, W) of each user as separate rows; K is 1 for a single profile."""
    return targets.vectors_UP.unflatten(1, (teacher.user_parts, -1))


def standardise_profiles(targets_UKW: Tensor, known_U: Tensor) -> Tensor:
    """Centre each kind of profile by its mean over the known users, and scale it to unit length."""
    return functional.normalize(targets_UKW - targets_UKW[known_U].mean(0), dim=-1)


class ProfileCombination(nn.Module):
    """Mean of K profiles, or their sum with learnt attention weights.

    Attention over a single profile would have no effect and is refused.
    """

    def __init__(self, kind: Combination, n_profiles: int, width: int) -> None:
        super().__init__()
        if kind == "attention" and n_profiles == 1:
            raise TeacherError(
                "objective 'profile': aspects = \"attention\" requires several profiles per user; set "
                '[profiles] family = "aspects", combine = false and [encoder] aspects = "apart", or aspects = "mean".'
            )
        self.look = nn.Linear(width, 1) if kind == "attention" else None

    def forward(self, profiles_BKW: Tensor) -> Tensor:
        if self.look is None:
            return profiles_BKW.mean(1)
        weights_BK1 = self.look(profiles_BKW).softmax(1)
        return torch.sum(weights_BK1 * profiles_BKW, dim=1)
