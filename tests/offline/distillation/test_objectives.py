"""What every objective must keep, and what the published code got wrong (collapse, padding, missing teachers)."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from retort.offline.common.plugins import load_plugin, plugin_names
from retort.offline.common.progress import Silent
from retort.offline.distillation._activations import Pool
from retort.offline.distillation._base import Objective
from retort.offline.distillation.configs._base import Pooling
from retort.offline.students._base import Student
from retort.offline.teachers.teacher import Teacher
from retort.offline.training.config import TrainingConfig
from retort.offline.training.loop import fit
from retort.shared.base.errors import TeacherError
from tests.offline._worlds import teacher_of
from tests.offline.distillation._batches import ITEMS_BT, SPLIT, USERS_B, output, student

PACKAGE = "retort.offline.distillation"


def build(name: str, student: Student, teacher: Teacher) -> Objective:
    module = load_plugin(PACKAGE, name)
    torch.manual_seed(1)
    knobs = {"relational": {"among": "users"}}.get(name, {})
    objective: Objective = module.Model(module.Config(name=name, **knobs), student, teacher)
    objective.attach(student)
    torch.manual_seed(2)
    return objective


def with_a_loss() -> list[str]:
    return [name for name in plugin_names(PACKAGE) if load_plugin(PACKAGE, name).Model.adds_loss]


@pytest.fixture(params=with_a_loss())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_is_finite_and_reaches_the_student(name: str) -> None:
    model = student()
    loss = build(name, model, teacher_of(SPLIT))(output(model))
    loss.backward()
    assert torch.isfinite(loss)
    assert model.items.weight.grad is not None
    assert model.items.weight.grad.abs().sum() > 0


def _needs_no_user(name: str) -> bool:
    """Whether the objective knows items alone: then every user counts, and unknown items are its own suite's matter."""
    model = student()
    return build(name, model, teacher_of(SPLIT)).config.needs == {"items"}


def test_a_user_without_a_teacher_does_not_count(name: str) -> None:
    if _needs_no_user(name):
        pytest.skip("this objective has a teacher of items, not of users")
    model = student()
    teacher = teacher_of(SPLIT, unknown=5)  # users 0 … 4 have none, so the first row has none
    objective = build(name, model, teacher)
    with_stranger = objective(output(model))
    torch.manual_seed(2)
    without = objective(output(model, ITEMS_BT[1:], USERS_B[1:]))
    torch.testing.assert_close(with_stranger, without)


def test_a_batch_of_unknown_users_has_no_loss(name: str) -> None:
    if _needs_no_user(name):
        pytest.skip("this objective has a teacher of items, not of users")
    model = student()
    objective = build(name, model, teacher_of(SPLIT, unknown=len(SPLIT.user_ids) - 1))
    loss = objective(output(model))
    loss.backward()
    assert loss.item() == 0


def test_padding_does_not_count(name: str) -> None:
    model = student()
    objective = build(name, model, teacher_of(SPLIT))
    wider = torch.nn.functional.pad(ITEMS_BT, (2, 0))
    narrow = objective(output(model))
    torch.manual_seed(2)
    torch.testing.assert_close(narrow, objective(output(model, wider)), rtol=1e-4, atol=1e-5)


def test_random_targets_cannot_be_predicted_for_equal_histories(name: str) -> None:
    """What an objective learns itself must not make its target easy: the published map of the profile does."""
    model = student()
    objective = build(name, model, teacher_of(SPLIT))
    if not list(objective.parameters()):
        pytest.skip("this objective has no parameters of its own")
    users_B = torch.arange(len(SPLIT.user_ids))
    alike_BT = torch.ones(len(users_B), 1, dtype=torch.long)
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.05)
    losses = []
    for _ in range(200):
        loss = objective(output(model, alike_BT, users_B))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] > 0.5 * losses[0]


@pytest.mark.parametrize("name", plugin_names(PACKAGE))
def test_weight_0_is_the_plain_training_and_any_weight_leaves_a_plain_student(name: str, tmp_path: Path) -> None:
    module = load_plugin(PACKAGE, name)
    config = TrainingConfig(epochs=2, batch_size=32, negatives=8)
    plain = student()
    weights = {}
    for weight in (None, 0.0, 0.3):
        work = tmp_path / str(weight)
        work.mkdir()
        torch.manual_seed(0)
        model = student()
        teacher = teacher_of(SPLIT)
        objectives = [] if weight is None else [module.Model(module.Config(name=name, weight=weight), model, teacher)]
        fit(model, SPLIT, objectives, config, Silent(), work)
        weights[weight] = model.state_dict()
        assert not model._additions
        assert not any(part._forward_hooks for part in model.modules())
    assert all(torch.equal(value, weights[0.0][key]) for key, value in weights[None].items())
    assert not all(torch.equal(value, weights[0.3][key]) for key, value in weights[None].items())
    assert {k: v.shape for k, v in weights[0.3].items()} == {k: v.shape for k, v in plain.state_dict().items()}


@pytest.mark.parametrize("name", plugin_names(PACKAGE))
def test_an_interrupted_distillation_ends_with_the_same_weights(name: str, tmp_path: Path) -> None:
    module = load_plugin(PACKAGE, name)
    states = []
    for stops in ((3,), (1, 3)):
        work = tmp_path / str(len(stops))
        work.mkdir()
        for stop in stops:
            torch.manual_seed(0)
            model = student()
            objective = module.Model(module.Config(name=name, weight=0.3), model, teacher_of(SPLIT))
            config = TrainingConfig(epochs=3, batch_size=32, negatives=8)
            fit(model, SPLIT, [objective], config, Silent(), work, stop_after=stop)
        states.append(model.state_dict())
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key


@pytest.mark.parametrize("kind", get_args(Pooling))
def test_pooling_does_not_see_padding(kind: str) -> None:
    torch.manual_seed(0)
    pool = Pool(kind, 4)  # type: ignore[arg-type]
    states = torch.randn(2, 3, 4)
    padded = torch.cat([torch.full((2, 5, 4), 9.0), states], 1)
    real = torch.ones(2, 3, dtype=torch.bool)
    padded_real = torch.cat([torch.zeros(2, 5, dtype=torch.bool), real], 1)
    torch.testing.assert_close(pool(states, real), pool(padded, padded_real))


def test_exponential_pooling_weights_new_positions_most() -> None:
    pool = Pool("exponential", 1, gamma=1.0)
    states = torch.tensor([[[0.0], [1.0]]])
    expected = np.e / (1 + np.e)
    assert pool(states, torch.ones(1, 2, dtype=torch.bool)).item() == pytest.approx(expected)


@pytest.mark.parametrize("name", plugin_names(PACKAGE))
def test_an_objective_needs_only_its_declared_inputs(name: str) -> None:
    module = load_plugin(PACKAGE, name)
    for knobs in ({}, {"among": "users"}) if name == "relational" else ({},):
        config = module.Config(name=name, **knobs)
        full = teacher_of(SPLIT)
        parts = {
            "users": {"user_vectors": full.user_vectors, "has_user": full.has_user},
            "items": {"item_vectors": full.item_vectors, "has_item": full.has_item},
            "lists": {"rankings": full.rankings, "distributions": full.distributions},
        }
        given = {key: value for need in config.needs for key, value in parts[need].items()}
        module.Model(config, student(), Teacher(**given))
        with pytest.raises(TeacherError, match=name):
            module.Model(config, student(), Teacher())
