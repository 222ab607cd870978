"""Loss weights of users by the faithfulness of their profiles."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from retort.offline.teachers.config import WeightsConfig
from retort.offline.teachers.teacher import BoolArray, FloatArray
from retort.shared.base.errors import TeacherError


def user_weights(user_ids: Sequence[str], profiles: pl.DataFrame, config: WeightsConfig) -> FloatArray:
    """Return weights (n_users,) with mean 1 over the users who have a profile, and 0 for the others.

    Args:
        user_ids: Users of the split.
        profiles: Table of user_id, aspect, text and grounding (the faithfulness); aspects of a user are averaged.
        config: The recipe's `[teacher.weights]`.

    Raises:
        TeacherError: The table has no faithfulness, or no user of this split.
    """
    if "grounding" not in profiles.columns:
        raise TeacherError(
            "these profiles hold no grounding (faithfulness); run the profiles step of this version again."
        )
    by_user = profiles.group_by("user_id").agg(pl.col("grounding").fill_null(config.unknown).mean())
    known = dict(by_user.iter_rows())
    weights = np.array([known.get(user_id, np.nan) for user_id in user_ids], dtype=np.float64)
    present = np.isfinite(weights)
    if not present.any():
        raise TeacherError("none of these profiles is of a user of this split; give the profiles made from this data.")
    raised = np.ones(len(weights)) if config.by == "none" else weights**config.power
    return normalised_weights(raised, present)


def normalised_weights(weights: NDArray[np.floating], present: BoolArray) -> FloatArray:
    """Scale the weights of the present users to mean 1, with 0 for the others.

    Raises:
        TeacherError: All weights are 0.
    """
    mean = weights[present].mean() if present.any() else 0.0
    if mean == 0:
        raise TeacherError("no profile is carried by its history: every weight is 0; see why before you train on them.")
    return np.where(present, weights / mean, 0.0).astype(np.float32)
