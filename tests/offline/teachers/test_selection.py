"""One gate for all objectives: who is taught, judged by ranks, and that the others are as if unknown."""

from dataclasses import replace

import numpy as np
import pytest

from retort.offline.distillation import mutual, profile
from retort.offline.teachers.config import SelectionConfig
from retort.offline.teachers.selection import select
from retort.offline.teachers.teacher import Teacher
from retort.shared.base.errors import TeacherError
from tests.offline._worlds import teacher_of
from tests.offline.distillation._batches import SPLIT, USERS_B, output, student

USERS_E = np.repeat(np.arange(len(SPLIT.train)), SPLIT.train.lengths)


def teacher() -> Teacher:
    """The student ranks worse the later a user stands, the teacher the earlier."""
    made = teacher_of(SPLIT, unknown=2)
    assert made.distributions is not None
    ranks = {"learner_ranks": USERS_E + 1, "true_ranks": len(SPLIT.train) - USERS_E}
    return replace(made, distributions=replace(made.distributions, **ranks))


def taught(chosen: Teacher) -> set[int]:
    assert chosen.distributions is not None
    assert chosen.rankings is not None
    assert chosen.has_user is not None
    users = set(np.flatnonzero(chosen.has_user).tolist())
    assert users == set(USERS_E[chosen.distributions.rows_E >= 0].tolist())
    assert users == set(USERS_E[chosen.rankings.rows_E >= 0].tolist())
    return users


def test_the_hard_users_alone_are_taught() -> None:
    n_users = len(SPLIT.train)
    n_kept = round(0.1 * (n_users - 2))
    assert taught(select(teacher(), SPLIT, SelectionConfig(by="hard", share=0.1))) == set(
        range(n_users - n_kept, n_users)
    )


def test_the_users_that_the_teacher_knows_best_are_taught() -> None:
    easier = replace(teacher(), distributions=replace(teacher().distributions, true_ranks=USERS_E + 1))  # type: ignore[type-var]
    assert taught(select(easier, SPLIT, SelectionConfig(by="sure", share=0.05))) == {2, 3, 4, 5, 6, 7}


def test_without_a_gate_nothing_changes_and_with_an_open_one_all_known_users_are_taught() -> None:
    whole = teacher()
    assert select(whole, SPLIT, SelectionConfig()) is whole
    assert taught(select(whole, SPLIT, SelectionConfig(by="hard", share=1.0))) == set(range(2, len(SPLIT.train)))


def test_weights_of_those_who_are_taught_have_mean_one() -> None:
    """Else the gate would change how loud the objective is, not only whom it speaks of."""
    n_users = len(SPLIT.train)
    weighed = replace(teacher(), user_weights=np.linspace(0.1, 1.9, n_users, dtype=np.float32))
    gated = select(weighed, SPLIT, SelectionConfig(by="hard", share=0.1))
    assert gated.user_weights is not None
    assert gated.has_user is not None
    np.testing.assert_allclose(gated.user_weights[gated.has_user].mean(), 1.0, rtol=1e-6)
    assert not gated.user_weights[~gated.has_user].any()


def test_every_objective_skips_users_who_are_not_selected() -> None:
    model = student()
    gated = select(teacher(), SPLIT, SelectionConfig(by="hard", share=0.1))
    assert not set(USERS_B.tolist()) & taught(gated)
    assert mutual.Model(mutual.Config(name="mutual"), model, gated)(output(model)).item() == 0
    assert profile.Model(profile.Config(name="profile"), model, gated)(output(model)).item() == 0


def test_unknown_ranks_are_refused() -> None:
    with pytest.raises(TeacherError, match="student's own ranks"):
        select(teacher_of(SPLIT), SPLIT, SelectionConfig(by="hard"))
    with pytest.raises(TeacherError, match="needs distributions"):
        select(Teacher(), SPLIT, SelectionConfig(by="sure"))
