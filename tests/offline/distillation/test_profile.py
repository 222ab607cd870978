"""Profile reconstruction: what is missing, what collapses, what learns."""

from dataclasses import replace

import pytest
import torch

from offline.distillation import profile
from shared.errors import TeacherError
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
    return float(loss.detach() / objective.targets_UP.var())


def test_the_repaired_target_cannot_collapse_and_the_faithful_one_does() -> None:
    assert _best_loss_on_random_targets("repaired") > 0.9
    assert _best_loss_on_random_targets("faithful") < 0.05


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
