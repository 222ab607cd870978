"""User vectors of the teacher, as targets of an objective.

Shapes: U n_users, P width of the teacher's vectors.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

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
