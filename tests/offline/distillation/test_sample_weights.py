"""A weight of one sample moves the gradient of that sample and of no other. (The published code of DLLM2Rec broadcasts
[B, 1] against [B], so that the mean weight reached everybody.)"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from retort.offline.distillation import mutual, profile, ranking
from retort.offline.distillation._base import Objective, StudentOutput
from retort.offline.students._base import Student
from tests.offline._worlds import teacher_of
from tests.offline.distillation._batches import SPLIT, output, student

TEACHER = teacher_of(SPLIT)
ROW = 1  # of the batch
MODES = pytest.mark.parametrize("mode", ["faithful", "repaired"])


def gradient(objective: Objective, out: StudentOutput) -> torch.Tensor:
    """(B, T, D) by the last states."""
    return torch.autograd.grad(objective(out), out.states[-1])[0]


def free(model: Student) -> StudentOutput:
    """What the student said, its last states free to move."""
    out = output(model)
    return replace(out, states=[out.states[0], out.states[-1].detach().requires_grad_()])


def assert_one_row_moves(objective: Objective, out: StudentOutput, change: Callable[[], None]) -> None:
    before = gradient(objective, out)
    change()
    moved_BT = (gradient(objective, out) - before).abs().sum(-1)
    others = [row for row in range(len(moved_BT)) if row != ROW]
    assert moved_BT[ROW].any()
    assert not moved_BT[others].any()


@MODES
def test_confidence_in_a_list(mode: str) -> None:
    model = student()
    out = free(model)
    config = ranking.Config(name="ranking", k=4, mode=mode, negatives=0, positions="last")  # type: ignore[arg-type]
    objective = ranking.Model(config, model, TEACHER)
    event = int(out.events_BT[ROW, -1])
    assert_one_row_moves(objective, out, lambda: objective.confidence_R[event].zero_())


@MODES
def test_weight_by_ranks(mode: str) -> None:
    model = student()
    out = free(model)
    assert TEACHER.distributions is not None
    ranks = np.full_like(TEACHER.distributions.true_ranks, 3)
    teacher = replace(TEACHER, distributions=replace(TEACHER.distributions, true_ranks=ranks, learner_ranks=2 * ranks))
    objective = mutual.Model(mutual.Config(name="mutual", mode=mode), model, teacher)  # type: ignore[arg-type]
    event = int(out.events_BT[ROW, -1])
    # as good as unheard: the teacher ranks the true item last of very many
    assert_one_row_moves(objective, out, lambda: objective.ranks_R[event].fill_(10_000))
    assert not gradient(objective, out)[ROW].any()


@MODES
@pytest.mark.parametrize("loss", ["mse", "cosine"])
def test_weight_of_a_profile(mode: str, loss: str) -> None:
    model = student()
    out = free(model)
    teacher = replace(TEACHER, user_weights=np.ones(len(SPLIT.user_ids), np.float32))
    objective = profile.Model(profile.Config(name="profile", mode=mode, loss=loss), model, teacher)  # type: ignore[arg-type]
    user = int(out.users_B[ROW])
    assert_one_row_moves(objective, out, lambda: objective.weights_U[user].zero_())
    assert not gradient(objective, out)[ROW].any()
