"""Selection of the users that are taught, for all objectives. No paper; `hard` is similar to arXiv 2608.19998.

Users are selected by the ranks of the true items at their evaluated events, by models that had not seen the user:
`hard` keeps the users with the worst ranks by the student, `sure` those with the best ranks by the teacher. The others
count in no objective, as if the teacher did not know them.
"""

from dataclasses import replace
from typing import TypeVar

import numpy as np

from retort.offline.data.split import Split
from retort.offline.teachers.config import SelectionConfig
from retort.offline.teachers.faithfulness_weights import normalised_weights
from retort.offline.teachers.teacher import BoolArray, Distributions, FloatArray, IntArray, Rankings, Teacher
from retort.shared.base.errors import TeacherError

L = TypeVar("L", Rankings, Distributions)


def select(teacher: Teacher, split: Split, config: SelectionConfig) -> Teacher:
    """Return the teacher with the selected users only.

    Raises:
        TeacherError: The lists have no ranks to select by.
    """
    if config.by == "none":
        return teacher
    stored = teacher.distributions
    if stored is None:
        raise TeacherError(f"[teacher.selection] by = {config.by!r} needs distributions over items; name their lists.")
    users_E = np.repeat(np.arange(len(split.train)), split.train.lengths)
    kept_U = _kept(_mean_log_ranks(stored, _ranks(stored, config), users_E, len(split.train)), config)
    has_user = None if teacher.has_user is None else teacher.has_user & kept_U
    vectors, weights = teacher.user_vectors, teacher.user_weights
    return replace(
        teacher,
        user_weights=None if weights is None or has_user is None else normalised_weights(weights, has_user),
        user_vectors=None if vectors is None or has_user is None else vectors * has_user[:, None],
        has_user=has_user,
        rankings=None if teacher.rankings is None else _only(teacher.rankings, kept_U[users_E]),
        distributions=_only(stored, kept_U[users_E]),
    )


def _ranks(stored: Distributions, config: SelectionConfig) -> IntArray:
    if config.by == "sure":
        return stored.true_ranks
    if stored.learner_ranks is None:
        raise TeacherError(
            '[teacher.selection] by = "hard" needs the student\'s own ranks; make the lists with lists = "mutual".'
        )
    return stored.learner_ranks


def _mean_log_ranks(stored: Distributions, ranks_R: IntArray, users_E: IntArray, n_users: int) -> FloatArray:
    """(U,): mean log rank; NaN for users without lists."""
    evaluated = stored.rows_E >= 0
    logs = np.log(ranks_R[stored.rows_E[evaluated]])
    totals = np.bincount(users_E[evaluated], logs, n_users)
    counts = np.bincount(users_E[evaluated], minlength=n_users)
    return np.where(counts > 0, totals / np.maximum(counts, 1), np.nan).astype(np.float32)


def _kept(badness_U: FloatArray, config: SelectionConfig) -> BoolArray:
    """(U,): mask of `share` of the users with ranks, at least one; ties are resolved in the order of users."""
    judged = np.flatnonzero(np.isfinite(badness_U))
    n_kept = max(1, round(config.share * len(judged)))
    order = np.argsort(-badness_U[judged] if config.by == "hard" else badness_U[judged], kind="stable")
    kept_U = np.zeros(len(badness_U), dtype=bool)
    kept_U[judged[order[:n_kept]]] = True
    return kept_U


def _only(lists: L, kept_E: BoolArray) -> L:
    return replace(lists, rows_E=np.where(kept_E, lists.rows_E, -1))
