"""Items that read alike: who is near whom, and what the loss asks of the student."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from retort.offline.distillation import near_items
from retort.offline.teachers.teacher import Teacher
from retort.shared.base.errors import TeacherError
from retort.shared.base.schema import PAD
from tests.offline._worlds import teacher_of
from tests.offline.distillation._batches import SPLIT, output, student

N_ROWS = len(SPLIT.item_index) + 1


def objective(teacher: Teacher, **settings: object) -> near_items.Model:
    config = near_items.Config(name="near_items", negatives=0, **settings)
    return near_items.Model(config, student(), teacher)


def test_neighbours_are_other_known_items_by_centred_cosine() -> None:
    teacher = teacher_of(SPLIT)
    assert teacher.item_vectors is not None
    assert teacher.has_item is not None
    known = np.flatnonzero(teacher.has_item)
    centred = teacher.item_vectors - teacher.item_vectors[known].mean(0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    model = objective(teacher, k=3)
    for item in known[:5]:
        others = known[known != item]
        expected = others[np.argsort(-(unit[others] @ unit[item]))[:3]]
        assert model.near_NK[item].tolist() == expected.tolist()
        assert model.shares_NK[item].sum().item() == pytest.approx(1.0, rel=1e-5)


def test_the_loss_is_the_cross_entropy_towards_the_neighbours() -> None:
    teacher = teacher_of(SPLIT)
    model, said = objective(teacher, k=4), output(student())
    cells = (said.targets_BT != PAD) & model.known_N[said.targets_BT]
    scores = said.states[-1][cells] @ said.table_ND.T
    scores[:, PAD] = -torch.inf
    logs = functional.log_softmax(scores, -1)
    targets = said.targets_BT[cells]
    naive = -(model.shares_NK[targets] * logs.gather(1, model.near_NK[targets])).sum(-1).mean()
    torch.testing.assert_close(model(said), naive)


def test_positions_without_a_text_do_not_count() -> None:
    teacher = teacher_of(SPLIT)
    assert teacher.has_item is not None
    said = output(student())
    lacking = int(said.targets_BT[said.targets_BT != PAD][0])
    without = objective(Teacher(None, None, teacher.item_vectors, _but(teacher.has_item, lacking)), k=4)
    assert lacking not in without.near_NK[without.known_N].flatten().tolist()
    blank = replace(said, targets_BT=torch.where(said.targets_BT == lacking, PAD, said.targets_BT))
    torch.testing.assert_close(without(said), without(blank))
    assert without(replace(said, targets_BT=torch.zeros_like(said.targets_BT))).item() == 0


def _but(known: np.ndarray, item: int) -> np.ndarray:
    less = known.copy()
    less[item] = False
    return less


def test_a_single_text_is_refused() -> None:
    teacher = teacher_of(SPLIT)
    alone = np.arange(N_ROWS) == 1
    with pytest.raises(TeacherError, match="two items with a text"):
        objective(replace(teacher, has_item=alone))
