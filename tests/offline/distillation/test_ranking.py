"""DLLM2Rec's ranking part: each weight is what the paper says, and stays with its own sample."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from retort.offline.distillation import ranking
from retort.offline.distillation._base import StudentOutput
from retort.offline.distillation._teacher_positions import TeacherPositions, listed_cross_entropy, teacher_positions
from retort.offline.students._base import Student
from retort.offline.teachers.teacher import Teacher
from retort.shared.base.errors import TeacherError
from tests.offline._worlds import teacher_of
from tests.offline.distillation._batches import ITEMS_BT, SPLIT, USERS_B, output, student

TEACHER = teacher_of(SPLIT)
assert TEACHER.rankings is not None
RANKINGS = TEACHER.rankings


def build(model: Student, teacher: Teacher = TEACHER, **knobs: object) -> ranking.Model:
    return ranking.Model(ranking.Config(name="ranking", k=4, **knobs), model, teacher)  # type: ignore[arg-type]


def weights_of(objective: ranking.Model, out: StudentOutput) -> tuple[torch.Tensor, TeacherPositions]:
    here = teacher_positions(out, objective.rows_E, objective.config.positions)
    return objective.weights(out, here.cells_BT, here.states_MD, here.rows_M), here


def test_every_evaluated_position_has_the_list_of_its_event() -> None:
    out = output(student())
    here = teacher_positions(out, torch.from_numpy(RANKINGS.rows_E), "all")
    assert here.rows_M.tolist() == out.events_BT[out.events_BT >= 0].tolist()
    last = teacher_positions(out, torch.from_numpy(RANKINGS.rows_E), "last")
    assert last.rows_M.tolist() == out.events_BT[:, -1].tolist()
    assert torch.equal(last.states_MD, out.states[-1][:, -1])


def test_faithful_weights_are_the_papers() -> None:
    model = student()
    out = output(model)
    objective = build(model, mode="faithful", position_scale=2.0)
    weights, here = weights_of(objective, out)
    mine = (here.states_MD @ out.table_ND[1:].T).topk(4).indices + 1
    rows = here.rows_M.numpy()
    for m, row in enumerate(rows):
        for k in range(4):
            shared = 0.1 * float(RANKINGS.items[row, k] in mine[m])
            expected = 0.3 * np.exp(-(k + 1) / 2.0) + 0.5 * np.exp(-RANKINGS.d_star[row]) + shared
            assert weights[m, k].item() == pytest.approx(expected, rel=1e-4)


def test_confidence_belongs_to_the_list_and_is_not_normalised_away() -> None:
    model = student()
    objective = build(model, gamma_position=0.0, gamma_consistency=0.0, gamma_confidence=1.0)
    weights, here = weights_of(objective, output(model))
    d_star = RANKINGS.d_star[here.rows_M.numpy()]
    order = np.argsort(d_star)
    totals = weights.sum(-1).numpy()[order]
    assert (np.diff(totals) < 0).all()  # the farther the true item, the less the whole list counts
    assert totals[0] - totals[-1] > 0.3


def test_one_samples_weight_moves_that_samples_gradient_alone() -> None:
    model = student()
    out = output(model)
    states = [out.states[0], out.states[-1].detach().requires_grad_()]
    out = replace(out, states=states)
    objective = build(model, gamma_position=0.0, gamma_consistency=0.0, negatives=0)

    def gradient() -> torch.Tensor:
        return torch.autograd.grad(objective(out), states[-1])[0]

    before = gradient()
    row = int(out.events_BT[1, 2])
    objective.confidence_R[row] = 0.0
    change = (gradient() - before).abs().sum(-1)
    assert change[1, 2] > 0
    change[1, 2] = 0
    assert not change.any()


def test_the_students_own_list_is_taken_without_dropout_where_repaired() -> None:
    model = student(dropout=0.5)
    objective = build(model, gamma_position=0.0, gamma_confidence=0.0, gamma_consistency=1.0)
    model.eval()
    expected, _ = weights_of(objective, output(model))
    model.train()
    for _ in range(3):
        found, _ = weights_of(objective, output(model))
        torch.testing.assert_close(found, expected)
    assert model.training


def test_the_students_own_list_is_renewed_every_few_epochs() -> None:
    model = student()
    knobs = {"gamma_position": 0.0, "gamma_confidence": 0.0, "gamma_consistency": 1.0}
    kept, fresh = build(model, consistency_every=3, **knobs), build(model, consistency_every=1, **knobs)
    first, _ = weights_of(kept, output(model))
    torch.testing.assert_close(first, weights_of(fresh, output(model))[0])
    with torch.no_grad():
        model.items.weight[1:] = torch.randn(len(model.items.weight) - 1, 16)
    now, _ = weights_of(fresh, output(model))
    assert not torch.equal(now, first)
    looked: list[int] = []
    model.norm.register_forward_hook(lambda *_: looked.append(1))
    out = output(model)
    looked.clear()
    for _ in range(2):
        torch.testing.assert_close(weights_of(kept, out)[0], first)
    assert not looked  # no second forward pass
    torch.testing.assert_close(weights_of(kept, out)[0], now)
    assert len(looked) == 1


def test_only_rows_that_are_due_are_renewed() -> None:
    model = student()
    knobs = {"gamma_position": 0.0, "gamma_confidence": 0.0, "gamma_consistency": 1.0}
    kept, fresh = build(model, consistency_every=3, **knobs), build(model, consistency_every=1, **knobs)
    weights_of(kept, output(model, ITEMS_BT[1:2], USERS_B[1:2]))
    found, here = weights_of(kept, output(model))
    torch.testing.assert_close(found, weights_of(fresh, output(model))[0])
    assert sorted(kept.visits_R[here.rows_M].unique().tolist()) == [1, 2]


def test_a_short_list_counts_its_candidates_only() -> None:
    model = student()
    items = RANKINGS.items.copy()
    items[:, 2:] = 0
    short = replace(TEACHER, rankings=replace(RANKINGS, items=items))
    weights, _ = weights_of(build(model, short), output(model))
    assert not weights[:, 2:].any()
    assert torch.isfinite(build(model, short)(output(model)))


def test_sampled_negatives_estimate_the_full_catalogue() -> None:
    torch.manual_seed(0)
    states, table = torch.randn(5, 8), torch.randn(200, 8) * 0.5
    candidates, weights = torch.randint(1, 200, (5, 3)), torch.rand(5, 3)
    exact = -((states @ table[1:].T).log_softmax(-1).gather(1, candidates - 1) * weights).sum(1).mean()
    torch.testing.assert_close(listed_cross_entropy(states, table, candidates, weights, 0), exact)
    sampled = [listed_cross_entropy(states, table, candidates, weights, 150) for _ in range(40)]
    torch.testing.assert_close(torch.stack(sampled).mean(), exact, atol=0.1, rtol=0)


@pytest.mark.parametrize("mode", ["faithful", "repaired"])
def test_the_teachers_items_rise(mode: str) -> None:
    model = student()
    objective = build(model, mode=mode)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)

    def mean_score() -> float:
        out = output(model)
        here = teacher_positions(out, objective.rows_E, "all")
        shares = (here.states_MD @ out.table_ND[1:].T).softmax(-1)
        return float(shares.gather(1, objective.items_RK[here.rows_M] - 1).sum(-1).mean().detach())

    before = mean_score()
    for _ in range(60):
        loss = objective(output(model))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert mean_score() > before + 0.1


def test_names_the_missing_input() -> None:
    with pytest.raises(TeacherError, match="needs a teacher's rankings"):
        build(student(), replace(TEACHER, rankings=None))
    unsure = replace(RANKINGS, d_star=np.full_like(RANKINGS.d_star, np.nan))
    with pytest.raises(TeacherError, match="gamma_confidence = 0"):
        build(student(), replace(TEACHER, rankings=unsure))
    for mode in ("faithful", "repaired"):
        model = student()
        objective = build(model, replace(TEACHER, rankings=unsure), gamma_confidence=0.0, mode=mode)
        assert torch.isfinite(objective(output(model)))
