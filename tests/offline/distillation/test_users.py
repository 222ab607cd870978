"""Candidates past the papers that start from user profiles."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from retort.offline.distillation import neighbours, soft_items
from retort.offline.teachers.teacher import Teacher
from retort.shared.base.errors import TeacherError
from tests.offline._worlds import teacher_of
from tests.offline.distillation._batches import SPLIT, output, student

N_USERS, N_ITEMS = len(SPLIT.user_ids), len(SPLIT.item_index)


def two_camps() -> Teacher:
    """Users of even index like items 1 … 6, the others 7 … 12, in words that say so and some noise."""
    random = np.random.default_rng(0)
    camps = np.array([[1.0, 0, 0, 0], [0, 1.0, 0, 0]], dtype=np.float32)
    users = camps[np.arange(N_USERS) % 2] + random.normal(0, 0.3, (N_USERS, 4)).astype(np.float32)
    items = np.concatenate([np.zeros((1, 4)), camps[(np.arange(N_ITEMS) >= 6).astype(int)]]).astype(np.float32)
    items[1:] += random.normal(0, 0.05, (N_ITEMS, 4)).astype(np.float32)
    return Teacher(users.astype(np.float32), np.ones(N_USERS, bool), items, np.arange(N_ITEMS + 1) > 0)


def test_a_profile_raises_the_items_of_its_group() -> None:
    objective = soft_items.Model(soft_items.Config(name="soft_items", k=4), student(), two_camps())
    even, odd = objective.items_UK[::2], objective.items_UK[1::2]
    assert ((even >= 1) & (even <= 6)).float().mean() > 0.97
    assert (odd >= 7).float().mean() > 0.97
    torch.testing.assert_close(objective.shares_UK.sum(-1), torch.ones(N_USERS))


def test_vectors_of_two_spaces_are_refused() -> None:
    teacher = replace(two_camps(), user_vectors=np.ones((N_USERS, 3), np.float32))
    with pytest.raises(TeacherError, match="encode both by one encoder"):
        soft_items.Model(soft_items.Config(name="soft_items"), student(), teacher)


def test_the_mean_of_neighbours_reduces_errors() -> None:
    teacher = two_camps()

    def spread(own_share: float) -> float:
        config = neighbours.Config(name="neighbours", k=10, own_share=own_share)
        targets = neighbours.Model(config, student(), teacher).targets_UP[::2]
        return float(targets.var(0).sum())

    assert spread(0.0) < 0.65 * spread(1.0)


def test_a_user_is_not_their_own_neighbour() -> None:
    vectors = np.eye(N_USERS, 6, dtype=np.float32)
    vectors[6:] = np.random.default_rng(0).normal(0, 1, (N_USERS - 6, 6))
    teacher = Teacher(vectors, np.arange(N_USERS) < 2)
    config = neighbours.Config(name="neighbours", k=5, own_share=0.0)
    targets = neighbours.Model(config, student(), teacher).targets_UP
    own = torch.nn.functional.normalize(torch.from_numpy(vectors[:2] - vectors[:2].mean(0)), dim=-1)
    torch.testing.assert_close(targets[0], own[1])
    torch.testing.assert_close(targets[1], own[0])


def test_own_share_1_is_the_users_own_profile() -> None:
    teacher = teacher_of(SPLIT)
    config = neighbours.Config(name="neighbours", own_share=1.0)
    objective = neighbours.Model(config, student(), teacher)
    assert teacher.user_vectors is not None
    centred = torch.from_numpy(teacher.user_vectors - teacher.user_vectors.mean(0))
    torch.testing.assert_close(objective.targets_UP, torch.nn.functional.normalize(centred, dim=-1))
    assert torch.isfinite(objective(output(student())))
