"""How far each user's profile is to be believed: its grounding, aligned to the split's users, for weighing the loss."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from retort.offline.teachers.config import WeightsConfig
from retort.offline.teachers.teacher import BoolArray, FloatArray
from retort.shared.base.errors import TeacherError


def user_weights(user_ids: Sequence[str], profiles: pl.DataFrame, config: WeightsConfig) -> FloatArray:
    """(n_users,) weights, mean 1 over the users who have a profile, 0 for the others.

    profiles: `profiles_table` (user_id, aspect, text, grounding); several aspects of a user are averaged.
    """
    if "grounding" not in profiles.columns:
        raise TeacherError("these profiles hold no grounding; run the profiles step of this version again.")
    by_user = profiles.group_by("user_id").agg(pl.col("grounding").fill_null(config.unknown).mean())
    known = dict(by_user.iter_rows())
    weights = np.array([known.get(user_id, np.nan) for user_id in user_ids], dtype=np.float64)
    present = np.isfinite(weights)
    if not present.any():
        raise TeacherError("none of these profiles is of a user of this split; give the profiles made from this data.")
    raised = np.ones(len(weights)) if config.by == "none" else weights**config.power
    return normalised_weights(raised, present)


def normalised_weights(weights: NDArray[np.floating], present: BoolArray) -> FloatArray:
    """The weights of those who are present scaled to mean 1, 0 for the others; TeacherError where all are 0."""
    mean = weights[present].mean() if present.any() else 0.0
    if mean == 0:
        raise TeacherError("no profile is carried by its history: every weight is 0; see why before you train on them.")
    return np.where(present, weights / mean, 0.0).astype(np.float32)
