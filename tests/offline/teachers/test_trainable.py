"""What a recommender hears of a student, downward in LLMD4Rec's loop: the formula, and whom it moves."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from retort.offline.teachers._trainable import StudentPredictions
from retort.offline.teachers.teacher import Distributions
from retort.shared.base.schema import PAD
from tests.offline._worlds import ring, teacher_of

SPLIT = ring()
TEACHER = teacher_of(SPLIT)
assert TEACHER.distributions is not None
EVENTS = np.array([1, 9, 17])
TARGETS_R = torch.from_numpy(SPLIT.train.values[EVENTS])
OWN_RANKS = np.array([6, 2, 3])
THEIRS = np.array([4, 3, 3])
# as the paper writes w1 for the recommender: worse, better, a tie
LISTENS = {"told": [1 + 2 / 4, 1 - 1 / 2, 1.0]}


def said(**changes: object) -> Distributions:
    stored = TEACHER.distributions
    assert stored is not None
    ranks, own = stored.true_ranks.copy(), np.ones_like(stored.true_ranks)
    ranks[EVENTS], own[EVENTS] = THEIRS, OWN_RANKS
    return replace(stored, **{"true_ranks": ranks, "learner_ranks": own, **changes})  # type: ignore[arg-type]


def logits() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(3, len(SPLIT.item_index) + 1, requires_grad=True)


def divergence(stored: Distributions, logits_N: torch.Tensor, event: int) -> torch.Tensor:
    """KL(student ‖ recommender) at T = 2, all items but the listed as one."""
    p_K = torch.from_numpy(stored.probabilities[event])
    q_K = (logits_N[PAD + 1 :] / 2.0).softmax(-1)[stored.items[event] - 1]
    rest_p, rest_q = 1 - p_K.sum(), 1 - q_K.sum()
    return (p_K * (p_K / q_K).log()).sum() + rest_p * (rest_p / rest_q).log()


def loss_of(heard: StudentPredictions, logits_RN: torch.Tensor, rows: slice = slice(None)) -> torch.Tensor:
    """Of a learner whose states are its scores."""
    return heard.loss(logits_RN[rows], torch.eye(logits_RN.shape[1]), EVENTS[rows], TARGETS_R[rows])


@pytest.mark.parametrize("kind", ["told", "current", "unknown", "alike"])
def test_it_is_gamma_t_squared_times_the_kl_from_the_student_by_whom_ranks_better(kind: str) -> None:
    logits_RN, stored = logits(), said()
    if kind == "unknown":
        stored = replace(stored, learner_ranks=None)
    heard = StudentPredictions(stored, weight=0.5, weigh_samples=kind != "alike", current_ranks=kind == "current")
    if kind == "current":  # the paper's way: its ranks as it learns
        own_R1 = logits_RN.gather(1, TARGETS_R[:, None])
        ranks = (logits_RN[:, PAD + 1 :] >= own_R1).sum(1).tolist()
        listens = [min(2.0, r / t) if r >= t else max(0.0, 2 - t / r) for r, t in zip(ranks, THEIRS, strict=True)]
    else:
        listens = LISTENS.get(kind, [1.0, 1.0, 1.0])
    each = [w * divergence(stored, logits_RN[r], e) for r, (w, e) in enumerate(zip(listens, EVENTS, strict=True))]
    expected = 0.5 * 4.0 * sum(each) / 3
    torch.testing.assert_close(loss_of(heard, logits_RN), expected, rtol=1e-4, atol=1e-5)


def test_one_events_ranks_move_that_events_gradient_alone_and_events_without_a_row_do_not_count() -> None:
    def gradient(stored: Distributions, rows: slice = slice(None)) -> torch.Tensor:
        logits_RN = logits()
        heard = StudentPredictions(stored, weight=1.0, weigh_samples=True, current_ranks=False)
        loss_of(heard, logits_RN, rows).backward()
        assert logits_RN.grad is not None
        return logits_RN.grad

    own = said().learner_ranks
    assert own is not None
    deaf = own.copy()
    deaf[EVENTS[0]] = 1  # four times as good as the student: it does not listen
    moved = (gradient(said(learner_ranks=deaf)) - gradient(said())).abs().sum(1)
    assert moved[0] > 0
    assert not moved[1:].any()
    rows_E = said().rows_E.copy()
    rows_E[EVENTS[2]] = -1
    torch.testing.assert_close(gradient(said(rows_E=rows_E)), gradient(said(), slice(2)))


def test_events_without_predictions_have_no_loss() -> None:
    logits_RN, nowhere_E = logits(), np.full_like(said().rows_E, -1)
    for current in (False, True):
        heard = StudentPredictions(said(rows_E=nowhere_E), weight=1.0, weigh_samples=True, current_ranks=current)
        loss = loss_of(heard, logits_RN)
        loss.backward()
        assert loss == 0
    assert logits_RN.grad is not None
    assert not logits_RN.grad.any()
