"""Diverged trainings end with an error, and nothing of them is finished, exported or sealed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from retort.offline.common.progress import Silent
from retort.offline.data.split import Split
from retort.offline.distillation import profile
from retort.offline.evaluation.validate import validation_ranks
from retort.offline.export.bundle_builder import golden_requests
from retort.offline.export.onnx import export_student
from retort.offline.losses.divergence import check_epoch
from retort.offline.students import sasrec
from retort.offline.training.config import TrainingConfig
from retort.offline.training.loop import fit
from retort.shared.base.errors import BundleError, TrainingError
from retort.shared.model.scoring import Scorer
from tests.offline._worlds import ring, teacher_of

SPLIT = ring()
EXPLODING = {"learning_rate": 1e30, "clip_norm": 1e30, "bf16": False, "epochs": 3, "warmup_steps": 0}


def student() -> sasrec.Model:
    torch.manual_seed(0)
    return sasrec.Model(sasrec.Config(embedding_dim=8, max_length=6, n_blocks=1), len(SPLIT.item_index))


@pytest.mark.parametrize("split", [SPLIT, replace(SPLIT, validation=None)], ids=["held", "refit"])
@pytest.mark.parametrize("loss", ["full_softmax", "sampled_softmax", "gbce", "bce", "bpr", "ccl", "dros"])
def test_a_diverged_training_names_the_epoch_and_the_settings(split: Split, loss: str, tmp_path: Path) -> None:
    config = TrainingConfig(loss=loss, batch_size=32, **EXPLODING)  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match=r"diverged in epoch \d.*lower \[training\] learning_rate \(now 1e\+30\)"):
        fit(student(), split, [], config, Silent(), tmp_path)


def test_a_divergence_in_the_last_step_is_found(tmp_path: Path) -> None:
    """The only loss is that of the untrained student, which is finite."""
    config = TrainingConfig(batch_size=4096, **{**EXPLODING, "epochs": 1, "learning_rate": 1e38})  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match="epoch 1"):
        fit(student(), replace(SPLIT, validation=None), [], config, Silent(), tmp_path)


def test_a_diverged_epoch_is_not_in_the_checkpoint(tmp_path: Path) -> None:
    config = TrainingConfig(batch_size=32, **EXPLODING)  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(TrainingError, match="epoch 1"):
            fit(student(), SPLIT, [], config, Silent(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_objective_that_diverges_is_named(tmp_path: Path) -> None:
    model, teacher = student(), teacher_of(SPLIT)
    assert teacher.user_vectors is not None
    broken = replace(teacher, user_vectors=np.full_like(teacher.user_vectors, np.nan))
    objective = profile.Model(profile.Config(name="profile", weight=0.3), model, broken)
    with pytest.raises(TrainingError, match="lower the weight of the objective 'profile'"):
        fit(model, SPLIT, [objective], TrainingConfig(epochs=1, batch_size=32), Silent(), tmp_path)


def test_gradients_that_overflow_are_no_training(tmp_path: Path) -> None:
    """Their norm is infinite and clipping makes them zero: weights and losses stay finite, and nothing is learnt."""
    model, teacher = student(), teacher_of(SPLIT)
    objective = profile.Model(profile.Config(name="profile", weight=1e25), model, teacher)
    with pytest.raises(TrainingError, match=r"epoch 1: the gradient of \d+ steps is NaN or infinite.*'profile'"):
        fit(model, SPLIT, [objective], TrainingConfig(epochs=1, batch_size=32, bf16=False), Silent(), tmp_path)


def test_averages_of_the_optimiser_that_overflow_are_no_training() -> None:
    """Squares of the gradient overflow: the weight is divided by infinity in each later step."""
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([weight])
    (weight.sum() * 1e25).backward()
    optimizer.step()
    with pytest.raises(TrainingError, match="epoch 1: the averages of the optimiser hold NaN or infinity"):
        check_epoch(1, [1.0], [weight], "[ctr] learning_rate", optimizer)


def test_scores_that_overflow_are_refused_in_validation() -> None:
    model = student()
    with torch.no_grad():
        model.items.weight.mul_(1e30)
        model.norm.weight.mul_(1e30)
    assert SPLIT.validation is not None
    with pytest.raises(TrainingError, match="the scores hold NaN or infinity"):
        validation_ranks(model, SPLIT.validation)


def test_other_trainings_name_their_epoch_and_setting() -> None:
    check_epoch(1, [1.0, 2.0], [torch.ones(2)], "[ctr] learning_rate")
    with pytest.raises(TrainingError, match=r"epoch 2: the loss of step 2 is nan; lower \[ctr\] learning_rate"):
        check_epoch(2, [1.0, float("nan")], [torch.ones(2)], "[ctr] learning_rate")
    with pytest.raises(TrainingError, match="epoch 3: the weights hold NaN"):
        check_epoch(3, [1.0], [torch.tensor([1.0, torch.inf])], "[ctr] learning_rate")


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_not_exported(value: float) -> None:
    model = student()
    with torch.no_grad():
        model.items.weight[3, 0] = value
    with pytest.raises(TrainingError, match="cannot be exported: the weights of the student hold NaN"):
        export_student(model)


def test_a_graph_whose_scores_are_not_finite_is_not_sealed() -> None:
    """All weights are finite, but the products overflow."""
    model = student()
    with torch.no_grad():
        model.items.weight.mul_(1e15)
        model.norm.weight.mul_(1e25)
    scorer = Scorer(export_student(model), n_items=model.n_items, max_length=6)
    with pytest.raises(BundleError, match="scores that are NaN or infinite"):
        golden_requests(scorer, SPLIT)
