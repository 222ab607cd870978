"""LLMD4Rec's upward loss: the weights of two models and the divergence with a tail."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retort.offline.distillation import mutual
from retort.offline.distillation._teacher_positions import teacher_positions
from retort.offline.losses import truncated_kl as agreement
from retort.shared.base.errors import TeacherError
from retort.shared.base.schema import PAD
from tests.offline._worlds import teacher_of
from tests.offline.distillation._batches import SPLIT, output, student

RANKS = st.lists(st.tuples(st.integers(1, 10_000), st.integers(1, 10_000)), min_size=1, max_size=20)


@settings(deadline=None)  # the first assertion of a process loads much
@given(RANKS)
def test_weights_of_two_models_sum_to_two_and_the_worse_one_learns_more(ranks: list[tuple[int, int]]) -> None:
    one, other = torch.tensor(ranks).T
    one_listens, other_listens = agreement.rank_weights(one, other)
    torch.testing.assert_close(one_listens + other_listens, torch.full_like(one_listens, 2.0))
    assert (one_listens >= 0).all()
    assert (one_listens <= 2).all()
    assert (one_listens[one > other] > 1).all()
    assert (one_listens[one < other] < 1).all()
    assert (one_listens[one == other] == 1).all()
    assert torch.equal(agreement.rank_weights(other, one)[0], other_listens)


def test_the_weights_are_the_papers_formula() -> None:
    one, other = torch.tensor([4, 3, 2]), torch.tensor([3, 4, 9])
    # 1 + (r_l − r_c) / r_c where the other is worse, 1 − (r_c − r_l) / r_l where it is better, clipped to 0 … 2
    torch.testing.assert_close(agreement.rank_weights(one, other)[1], torch.tensor([1 - 1 / 3, 1 + 1 / 3, 2.0]))


def distributions(n: int = 30, m: int = 50) -> tuple[torch.Tensor, torch.Tensor]:
    """Over items 1 … n; column 0 is PAD with no mass."""
    torch.manual_seed(0)
    one, other = torch.randn(m, n + 1), torch.randn(m, n + 1)
    one[:, 0] = other[:, 0] = -torch.inf
    return one.softmax(-1), other.log_softmax(-1)


def named_kl(shares_MK: torch.Tensor, items_MK: torch.Tensor, logs_MN: torch.Tensor) -> torch.Tensor:
    return agreement.kl_with_tail(shares_MK, logs_MN.gather(1, items_MK), items_MK != PAD)


def test_kl_of_a_distribution_with_itself_is_zero() -> None:
    shares, _ = distributions()
    top = shares.topk(5)
    found = named_kl(top.values, top.indices, shares.log())
    torch.testing.assert_close(found, torch.zeros(len(shares)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("k", [1, 5, 20, 30])
def test_the_kept_part_is_never_above_the_full_kl(k: int) -> None:
    shares, logs = distributions()
    full = (shares[:, 1:] * (shares[:, 1:].log() - logs[:, 1:])).sum(-1)
    top = shares.topk(k)
    kept = named_kl(top.values, top.indices, logs)
    assert (kept <= full + 1e-5).all()
    assert (kept >= -1e-5).all()
    if k == 30:
        torch.testing.assert_close(kept, full, atol=1e-4, rtol=0)


def test_empty_places_of_a_short_list_have_no_effect() -> None:
    shares, logs = distributions()
    top = shares.topk(3)
    padded = torch.nn.functional.pad(top.indices, (0, 2))
    masses = torch.nn.functional.pad(top.values, (0, 2))
    torch.testing.assert_close(named_kl(masses, padded, logs), named_kl(top.values, top.indices, logs))


def test_a_student_that_is_far_better_has_weight_zero() -> None:
    model = student()
    teacher = teacher_of(SPLIT)
    assert teacher.distributions is not None
    out = output(model)
    here = teacher_positions(out, torch.from_numpy(teacher.distributions.rows_E), "last")
    bad = np.full_like(teacher.distributions.true_ranks, 10_000)
    deaf = mutual.Model(
        mutual.Config(name="mutual"),
        model,
        replace(teacher, distributions=replace(teacher.distributions, true_ranks=bad)),
    )
    assert len(here.rows_M) == 3
    assert deaf(out).item() == pytest.approx(0.0, abs=1e-6)
    eager = mutual.Model(mutual.Config(name="mutual", weigh_samples=False), model, teacher)
    assert eager(out).item() > 0.1


def test_a_repaired_student_is_weighted_by_its_ranks_on_held_out_rows() -> None:
    model = student()
    teacher = teacher_of(SPLIT)
    assert teacher.distributions is not None
    best = np.ones_like(teacher.distributions.true_ranks)
    told = replace(teacher, distributions=replace(teacher.distributions, true_ranks=10 * best, learner_ranks=best))
    assert mutual.Model(mutual.Config(name="mutual"), model, told)(output(model)).item() == pytest.approx(0, abs=1e-6)
    faithful = mutual.Model(mutual.Config(name="mutual", mode="faithful"), model, told)
    assert faithful(output(model)).item() > 0.01  # this student's own ranks are no such thing


def test_the_students_distribution_approaches_the_teachers() -> None:
    model = student()
    objective = mutual.Model(mutual.Config(name="mutual", weigh_samples=False), model, teacher_of(SPLIT))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    first = objective(output(model)).item()
    for _ in range(100):
        loss = objective(output(model))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1 * first


def test_names_the_missing_input() -> None:
    with pytest.raises(TeacherError, match="needs distributions"):
        mutual.Model(mutual.Config(name="mutual"), student(), replace(teacher_of(SPLIT), distributions=None))
