"""LLM-KT: any layer of any student, heard by name."""

from contextlib import suppress

import pytest
import torch

from retort.offline.common.plugins import load_plugin, plugin_names
from retort.offline.distillation import feature
from retort.offline.students._base import Student
from retort.shared.base.errors import TeacherError
from tests.offline._worlds import teacher_of
from tests.offline.distillation._batches import ITEMS_BT, SPLIT, output, student


def build(model: Student, width: int = 6, **knobs: object) -> feature.Model:
    config = feature.Config(name="feature", **knobs)  # type: ignore[arg-type]
    objective = feature.Model(config, model, teacher_of(SPLIT, width=width))
    objective.attach(model)
    return objective


@pytest.mark.parametrize("name", plugin_names("retort.offline.students"))
@pytest.mark.parametrize("side", ["input", "output"])
def test_captures_every_listed_module_of_every_student(name: str, side: str) -> None:
    module = load_plugin("retort.offline.students", name)
    model = module.Model(module.Config(embedding_dim=16, max_length=6), len(SPLIT.item_index))
    reached = 0
    for layer, _ in model.named_children():
        with suppress(TeacherError):  # a list of modules, or one that reads item indexes
            objective = build(model, layer=layer, side=side)
            with torch.autocast("cpu", dtype=torch.bfloat16):  # as the loop does
                captured = output(model)
            assert torch.isfinite(objective(captured))
            objective.detach(model)
            reached += 1
    assert reached


def test_input_of_a_layer_is_the_output_of_the_one_before() -> None:
    model = student()
    after = build(model, layer="blocks.0", side="output", loss="mse")
    torch.manual_seed(3)
    before = build(model, layer="blocks.1", side="input", loss="mse")
    before.project.load_state_dict(after.project.state_dict())
    out = output(model)
    torch.testing.assert_close(after(out), before(out))


@pytest.mark.parametrize("loss", ["rmse", "mse", "cosine", "infonce"])
@pytest.mark.parametrize("mode", ["repaired", "faithful"])
def test_every_form_learns(mode: str, loss: str) -> None:
    model = student()
    objective = build(model, width=16, mode=mode, loss=loss, layer="blocks.0")
    optimizer = torch.optim.Adam([*model.parameters(), *objective.parameters()], lr=0.02)
    values = []
    for _ in range(80):
        value = objective(output(model))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.5 * values[0]


def test_random_targets_cannot_be_predicted() -> None:
    """The target is fixed: with states that know no user, the loss cannot fall below the targets' variance."""
    model = student()
    objective = build(model, loss="mse", layer="norm")
    assert not objective.targets_UP.requires_grad
    handle_state = torch.zeros(len(SPLIT.user_ids), 1, 16)
    users_B = torch.arange(len(SPLIT.user_ids))
    blank = output(model, torch.ones(len(users_B), 1, dtype=torch.long), users_B)
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.05)
    for _ in range(200):
        objective._captured[:] = [handle_state]
        loss = objective(blank)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() > 0.9 * objective.targets_UP.var(0, correction=0).mean().item()


def test_wrong_widths_are_refused() -> None:
    with pytest.raises(TeacherError, match="'norm' is 16 wide, the user vectors 6"):
        build(student(), mode="faithful", layer="norm")
    with pytest.raises(TeacherError, match="width = 64, but the user vectors have 2"):
        feature.Model(feature.Config(name="feature", width=64), student(), teacher_of(SPLIT, width=2))


def test_two_columns_are_refused_unless_configured() -> None:
    """The published code hands UMAP its width in the place of another knob: its targets always have two columns."""
    narrow = teacher_of(SPLIT, width=2)
    for mode in ("repaired", "faithful"):
        config = feature.Config(name="feature", mode=mode, layer="norm", first_columns=mode == "faithful")  # type: ignore[arg-type]
        with pytest.raises(TeacherError, match="two columns"):
            feature.Model(config, student(), narrow)
        teacher_positions = config.model_copy(update={"width": 2})
        assert feature.Model(teacher_positions, student(), narrow).targets_UP.shape[1] == 2


def test_the_first_columns_of_a_wider_layer_are_compared_and_no_other() -> None:
    model = student()
    objective = build(model, mode="faithful", layer="norm", loss="mse", first_columns=True)
    out = output(model)
    captured = objective._captured[0]
    captured.retain_grad()
    loss = objective(out)
    pooled = objective.pool(captured, out.items_BT != 0)[:, :6]
    torch.testing.assert_close(loss, (pooled - objective.targets_UP[out.users_B]).square().mean())
    loss.backward()
    assert captured.grad is not None
    assert captured.grad[..., :6].abs().sum() > 0
    assert captured.grad[..., 6:].abs().sum() == 0
    with pytest.raises(TeacherError, match="20 wide, the layer only 16"):
        build(student(), width=20, mode="faithful", layer="norm", first_columns=True)
    with pytest.raises(TeacherError, match="requires mode"):
        build(student(), layer="norm", first_columns=True)


def test_a_layer_without_positions_of_the_sequence_is_refused() -> None:
    module = load_plugin("retort.offline.students", "caser")
    model = module.Model(module.Config(embedding_dim=16, max_length=6), len(SPLIT.item_index))
    with pytest.raises(TeacherError, match="has no vectors"):
        build(model, layer="vertical")


def test_the_error_of_an_unknown_layer_lists_the_known_ones() -> None:
    with pytest.raises(TeacherError, match=r"no layer 'attic'.*blocks\.0"):
        build(student(), layer="attic")


def test_activations_of_an_evaluation_are_not_captured() -> None:
    model = student()
    objective = build(model, layer="norm")
    out = output(model)
    model.eval()
    model.hidden_states(ITEMS_BT + 1)
    model.train()
    expected = objective(out)
    again = output(model)
    torch.testing.assert_close(objective(again), expected)


def test_a_layer_that_was_not_called_is_named() -> None:
    model = student()
    objective = build(model, layer="norm")
    out = output(model)
    objective(out)
    with pytest.raises(TeacherError, match="was not called"):
        objective(out)
