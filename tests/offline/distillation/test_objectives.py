"""What every objective must keep, and what the published code got wrong (collapse, padding, missing teachers)."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from offline.distillation import profile
from offline.distillation._base import Objective, StudentOutput
from offline.distillation._pooling import Pool
from offline.plugins import load_plugin, plugin_names
from offline.students import sasrec
from offline.students._base import Student
from offline.teachers.teacher import Teacher
from shared.errors import TeacherError
from shared.schema import PAD
from tests.offline._worlds import ring, teacher_of

PACKAGE = "offline.distillation"
SPLIT = ring()
ITEMS_BT = torch.tensor([[0, 0, 1, 2], [3, 4, 5, 6], [0, 7, 8, 9]])
USERS_B = torch.tensor([0, 5, 9])


def student() -> Student:
    torch.manual_seed(0)
    return sasrec.Model(sasrec.Config(embedding_dim=16, max_length=6, dropout=0.0), len(SPLIT.item_index))


def build(name: str, student: Student, teacher: Teacher) -> Objective:
    module = load_plugin(PACKAGE, name)
    torch.manual_seed(1)
    objective: Objective = module.Model(module.Config(name=name), student, teacher)
    return objective


def output(student: Student, items_BT: torch.Tensor = ITEMS_BT, users_B: torch.Tensor = USERS_B) -> StudentOutput:
    """What `fit` would hand over: each row's items stand at the start of its user's train row."""
    targets_BT = items_BT % len(SPLIT.item_index) + 1
    targets_BT = targets_BT.where(items_BT != PAD, PAD)
    nth_BT = (items_BT != PAD).cumsum(1)
    events_BT = torch.from_numpy(SPLIT.train.offsets)[users_B][:, None] + nth_BT
    events_BT = events_BT.where(items_BT != PAD, -1)
    states = student.hidden_states(items_BT)
    return StudentOutput(states, items_BT, users_B, targets_BT, events_BT, student.item_table())


@pytest.fixture(params=plugin_names(PACKAGE))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_is_finite_and_reaches_the_student(name: str) -> None:
    model = student()
    loss = build(name, model, teacher_of(SPLIT))(output(model))
    loss.backward()
    assert torch.isfinite(loss)
    assert model.items.weight.grad is not None
    assert model.items.weight.grad.abs().sum() > 0


def test_a_user_without_a_teacher_does_not_count(name: str) -> None:
    model = student()
    teacher = teacher_of(SPLIT, unknown=5)  # users 0 … 4 have none, so the first row has none
    objective = build(name, model, teacher)
    with_stranger = objective(output(model))
    without = objective(output(model, ITEMS_BT[1:], USERS_B[1:]))
    torch.testing.assert_close(with_stranger, without)


def test_a_batch_of_strangers_costs_nothing(name: str) -> None:
    model = student()
    objective = build(name, model, teacher_of(SPLIT, unknown=len(SPLIT.user_ids) - 1))
    loss = objective(output(model))
    loss.backward()
    assert loss.item() == 0


def test_padding_does_not_count(name: str) -> None:
    model = student()
    objective = build(name, model, teacher_of(SPLIT))
    wider = torch.nn.functional.pad(ITEMS_BT, (2, 0))
    torch.testing.assert_close(objective(output(model)), objective(output(model, wider)), rtol=1e-4, atol=1e-5)


def _best_loss_on_random_targets(mode: str) -> float:
    """States are free parameters of a few shared directions; how near to random targets can the loss come?"""
    model = student()
    teacher = teacher_of(SPLIT, width=16)
    config = profile.Config(name="profile", mode=mode, loss="mse", pooling="mean")  # type: ignore[arg-type]
    objective = profile.Model(config, model, teacher)
    users_B = torch.arange(len(SPLIT.user_ids))
    items_BT = torch.ones(len(users_B), 1, dtype=torch.long)  # all users look alike: nothing can be known of them
    states = [torch.zeros(len(users_B), 1, 16)] * 2
    blank = output(model, items_BT, users_B)
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.05)
    for _ in range(300):
        loss = objective(replace(blank, states=states))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss.detach() / objective.targets_NP.var())


def test_the_repaired_target_cannot_collapse_and_the_faithful_one_does() -> None:
    assert _best_loss_on_random_targets("repaired") > 0.9
    assert _best_loss_on_random_targets("faithful") < 0.05


@pytest.mark.parametrize("kind", ["mean", "exponential", "attention", "last"])
def test_pooling_does_not_see_padding(kind: str) -> None:
    torch.manual_seed(0)
    pool = Pool(kind, 4)  # type: ignore[arg-type]
    states = torch.randn(2, 3, 4)
    padded = torch.cat([torch.full((2, 5, 4), 9.0), states], 1)
    real = torch.ones(2, 3, dtype=torch.bool)
    padded_real = torch.cat([torch.zeros(2, 5, dtype=torch.bool), real], 1)
    torch.testing.assert_close(pool(states, real), pool(padded, padded_real))


def test_exponential_pooling_prefers_what_is_new() -> None:
    pool = Pool("exponential", 1, gamma=1.0)
    states = torch.tensor([[[0.0], [1.0]]])
    expected = np.e / (1 + np.e)
    assert pool(states, torch.ones(1, 2, dtype=torch.bool)).item() == pytest.approx(expected)


def test_profile_says_what_is_missing() -> None:
    model = student()
    with pytest.raises(TeacherError, match="user vectors"):
        profile.Model(profile.Config(name="profile"), model, replace(teacher_of(SPLIT), user_vectors=None))
    with pytest.raises(TeacherError, match="block = 7"):
        profile.Model(profile.Config(name="profile", block=7), model, teacher_of(SPLIT))


@pytest.mark.parametrize("loss", ["mse", "rmse", "cosine"])
@pytest.mark.parametrize("mode", ["faithful", "repaired"])
def test_every_form_of_the_profile_objective_learns(mode: str, loss: str) -> None:
    model = student()
    config = profile.Config(name="profile", mode=mode, loss=loss, pooling="attention")  # type: ignore[arg-type]
    objective = profile.Model(config, model, teacher_of(SPLIT))
    optimizer = torch.optim.Adam([*model.parameters(), *objective.parameters()], lr=0.01)
    values = []
    for _ in range(30):
        value = objective(output(model))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.6 * values[0]
