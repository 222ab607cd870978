"""Profile reconstruction: what is missing, what collapses, what learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from retort.offline.distillation import profile
from retort.shared.base.errors import TeacherError
from tests.offline._worlds import teacher_of
from tests.offline.distillation._batches import SPLIT, output, student


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
    return float(loss.detach() / objective.targets_UKW.var())


def test_the_repaired_target_cannot_collapse_and_the_faithful_one_does() -> None:
    assert _best_loss_on_random_targets("repaired") > 0.9
    assert _best_loss_on_random_targets("faithful") < 0.05


def test_profile_names_the_missing_input() -> None:
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


def aspects_of(width: int, **knobs: object) -> profile.Model:
    """Two profiles a user, each `width` wide."""
    teacher = replace(teacher_of(SPLIT, width=2 * width), user_parts=2)
    return profile.Model(profile.Config(name="profile", **knobs), student(), teacher)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["faithful", "repaired"])
def test_several_profiles_are_mapped_one_by_one_and_averaged(mode: str) -> None:
    objective, model = aspects_of(6, mode=mode, loss="mse"), student()
    out = output(model)
    pooled = objective.pool(out.states[-1], out.items_BT != 0)
    each = objective.targets_UKW[out.users_B]
    if mode == "faithful":
        expected = (pooled - sum(objective.of_profile(each[:, k]) for k in range(2)) / 2).square().mean()
    else:
        expected = (objective.of_student(pooled) - each.mean(1)).square().mean()
        torch.testing.assert_close(each.norm(dim=-1), torch.ones(3, 2))
    torch.testing.assert_close(objective(out), expected)


@pytest.mark.parametrize("mode", ["faithful", "repaired"])
def test_attention_weighs_the_profiles_and_learns_which_to_follow(mode: str) -> None:
    objective, model = aspects_of(6, mode=mode, aspects="attention", loss="mse"), student()
    loss = objective(output(model))
    loss.backward()
    look = objective.gather.look
    assert look is not None
    assert look.weight.grad is not None
    assert look.weight.grad.abs().sum() > 0
    with torch.no_grad():
        look.weight.zero_()  # looks at all alike: the mean
    plain = aspects_of(6, mode=mode, loss="mse")
    plain.load_state_dict({k: v for k, v in objective.state_dict().items() if not k.startswith("gather")})
    torch.testing.assert_close(objective(output(model)), plain(output(model)))


def test_attention_over_one_profile_is_refused() -> None:
    with pytest.raises(TeacherError, match="requires several profiles"):
        profile.Model(profile.Config(name="profile", aspects="attention"), student(), teacher_of(SPLIT))


def test_without_down_scale_the_profile_must_have_the_students_width() -> None:
    def build(width: int, mode: str = "faithful") -> profile.Model:
        config = profile.Config(name="profile", mode=mode, down_scale=False)  # type: ignore[arg-type]
        return profile.Model(config, student(), teacher_of(SPLIT, width=width))

    with pytest.raises(TeacherError, match="6 wide, the student's states 16"):
        build(6)
    with pytest.raises(TeacherError, match="require mode"):
        build(16, "repaired")
    assert not list(build(16).parameters())  # nothing is learnt beside the student: nothing can collapse


def test_up_scale_maps_the_students_side_too() -> None:
    config = profile.Config(name="profile", mode="faithful", up_scale=True, loss="mse")
    objective, model = profile.Model(config, student(), teacher_of(SPLIT)), student()
    out = output(model)
    pooled = objective.of_student(objective.pool(out.states[-1], out.items_BT != 0))
    target = objective.of_profile(objective.targets_UKW[out.users_B, 0])
    torch.testing.assert_close(objective(out), (pooled - target).square().mean())


@pytest.mark.parametrize("loss", ["mse", "rmse", "cosine"])
def test_a_more_faithful_profile_has_a_larger_weight(loss: str) -> None:
    def value(weights: list[float] | None) -> float:
        teacher = teacher_of(SPLIT)
        if weights is not None:
            all_weights = np.ones(len(SPLIT.user_ids), dtype=np.float32)
            all_weights[out.users_B.numpy()] = weights
            teacher = replace(teacher, user_weights=all_weights)
        torch.manual_seed(5)
        config = profile.Config(name="profile", mode="repaired", loss=loss, pooling="mean")  # type: ignore[arg-type]
        said = float(profile.Model(config, model, teacher)(out).detach())
        return said**2 if loss == "rmse" else said

    model = student()
    out = output(model)
    alone = [value([3.0 if at == one else 0.0 for at in range(3)]) for one in range(3)]
    assert value([1.0, 1.0, 1.0]) == pytest.approx(value(None))
    assert value([2.0, 0.5, 0.5]) == pytest.approx((2 * alone[0] + 0.5 * alone[1] + 0.5 * alone[2]) / 3, rel=1e-4)


@pytest.mark.parametrize(
    ("mode", "block", "before"), [("faithful", 1, True), ("faithful", -1, False), ("repaired", 1, False)]
)
def test_a_faithful_last_block_by_its_number_is_read_before_the_norm(mode: str, block: int, before: bool) -> None:
    """The published code counts blocks from 0 and reads what they say; its −1 alone is behind the norm."""
    model = student().train()
    config = profile.Config(name="profile", mode=mode, loss="mse", block=block)  # type: ignore[arg-type]
    objective = profile.Model(config, model, teacher_of(SPLIT, width=16))
    said: list[torch.Tensor] = []
    model.norm.register_forward_pre_hook(lambda _, inputs: said.append(inputs[0]))
    objective.attach(model)
    out = output(model)
    real_BT = out.items_BT != 0
    pooled = objective.pool(said[0] if before else out.states[-1], real_BT)
    target = objective.of_profile(objective.targets_UKW[out.users_B, 0])
    expected = (objective.of_student(pooled) - target).square().mean()
    torch.testing.assert_close(objective(out), expected)
    objective.detach(model)
    assert not model.norm._forward_hooks


def test_up_scale_alone_maps_the_states_to_the_profiles_width() -> None:
    config = profile.Config(name="profile", mode="faithful", down_scale=False, up_scale=True, loss="mse")
    objective, model = profile.Model(config, student(), teacher_of(SPLIT, width=6)), student()
    out = output(model)
    pooled = objective.of_student(objective.pool(out.states[-1], out.items_BT != 0))
    assert pooled.shape[-1] == 6
    torch.testing.assert_close(objective(out), (pooled - objective.targets_UKW[out.users_B, 0]).square().mean())
    assert {tuple(weight.shape) for weight in objective.parameters()} == {(6, 16), (6,)}


def test_info_nce_finds_the_own_profile_among_the_users_of_the_batch() -> None:
    config = profile.Config(name="profile", loss="infonce", pooling="mean", temperature=0.5)
    torch.manual_seed(5)
    objective, model = profile.Model(config, student(), teacher_of(SPLIT)), student()
    out = output(model)
    users = torch.cat([out.users_B, out.users_B[:1]])
    twice = replace(
        out,
        users_B=users,
        items_BT=torch.cat([out.items_BT, out.items_BT[:1]]),
        states=[torch.cat([states, states[:1]]) for states in out.states],
    )
    predicted = objective.of_student(objective.pool(out.states[-1], out.items_BT != 0))
    targets = objective.targets_UKW[out.users_B, 0]
    cosines = torch.nn.functional.normalize(predicted, dim=-1) @ torch.nn.functional.normalize(targets, dim=-1).T
    losses = torch.nn.functional.cross_entropy(cosines / 0.5, torch.arange(len(cosines)), reduction="none")
    torch.testing.assert_close(objective(out), losses.mean())
    # a second row of a user has the same negatives as the first
    torch.testing.assert_close(objective(twice), torch.cat([losses, losses[:1]]).mean())
