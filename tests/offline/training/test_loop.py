from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from retort.offline.common.progress import Silent
from retort.offline.data.ragged import Ragged
from retort.offline.distillation import profile
from retort.offline.evaluation.evaluate import EvaluationConfig
from retort.offline.evaluation.metrics import ndcg
from retort.offline.evaluation.validate import validation_ranks
from retort.offline.students import sasrec
from retort.offline.training.config import TrainingConfig
from retort.offline.training.loop import fit
from retort.offline.training.optimization import learning_rate_factor
from retort.offline.training.sequence_loss import Negatives
from retort.shared.base.errors import DataError
from tests.offline._worlds import ring, teacher_of

SPLIT = ring()


class Interrupted(Silent):
    """A person who presses Ctrl-C after an epoch."""

    def __init__(self, after: int) -> None:
        self.after = after

    def update(self, what: str, done: int, total: int | None) -> None:
        if what == "epoch" and done == self.after:
            raise KeyboardInterrupt


def student(seed: int = 0) -> sasrec.Model:
    torch.manual_seed(seed)
    return sasrec.Model(sasrec.Config(embedding_dim=16, max_length=6, dropout=0.3), len(SPLIT.item_index))


def objective(model: sasrec.Model) -> profile.Model:
    torch.manual_seed(5)
    config = profile.Config(name="profile", weight=0.3, share=True, match_scale=True, last_epoch=3)
    return profile.Model(config, model, teacher_of(SPLIT))


@pytest.mark.parametrize("loss", ["full_softmax", "sampled_softmax", "gbce", "bce", "bpr", "ccl", "dros"])
def test_every_loss_teaches(loss: str, tmp_path: Path) -> None:
    config = TrainingConfig(epochs=12, batch_size=32, learning_rate=1e-2, loss=loss, negatives=8)  # type: ignore[arg-type]
    fitted = fit(student(), SPLIT, [], config, Silent(), tmp_path)
    first, last = fitted.log[0], fitted.log[-1]
    assert last.loss < 0.8 * first.loss
    assert last.ndcg is not None
    assert first.ndcg is not None
    assert last.ndcg > first.ndcg


def test_histories_of_single_events_are_nothing_to_learn_from(tmp_path: Path) -> None:
    alone = replace(SPLIT, train=Ragged.of([[1], [2], []]))
    with pytest.raises(DataError, match="two train events"):
        fit(student(), alone, [], TrainingConfig(epochs=1), Silent(), tmp_path)


def test_an_interrupted_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    config = TrainingConfig(epochs=5, batch_size=32)
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    whole = student()
    fit(whole, SPLIT, [objective(whole)], config, Silent(), tmp_path / "whole")

    broken = student()
    with pytest.raises(KeyboardInterrupt):
        fit(broken, SPLIT, [objective(broken)], config, Interrupted(after=2), tmp_path / "broken")
    again = student(seed=99)  # other weights: all must come from the checkpoint
    fitted = fit(again, SPLIT, [objective(again)], config, Silent(), tmp_path / "broken")

    assert [entry.epoch for entry in fitted.log] == [1, 2, 3, 4, 5]
    for key, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key


def test_the_steps_of_the_first_epoch_are_reported(tmp_path: Path) -> None:
    class Seen(Silent):
        def __init__(self) -> None:
            self.updates: list[tuple[str, int, int | None]] = []

        def update(self, what: str, done: int, total: int | None) -> None:
            self.updates.append((what, done, total))

    seen = Seen()
    fit(student(), SPLIT, [], TrainingConfig(epochs=2, batch_size=32), seen, tmp_path)
    steps = [(done, total) for what, done, total in seen.updates if what == "steps of the first epoch"]
    assert steps == [(number + 1, len(steps)) for number in range(len(steps))]
    assert [done for what, done, _ in seen.updates if what == "epoch"] == [1, 2]
    assert len(steps) > 1


def test_the_best_epoch_by_validation_is_kept_and_training_stops_early(tmp_path: Path) -> None:
    config = TrainingConfig(epochs=200, batch_size=32, learning_rate=1e-2, patience=3)
    model = student()
    fitted = fit(model, SPLIT, [], config, Silent(), tmp_path)
    scores = [entry.ndcg for entry in fitted.log if entry.ndcg is not None]
    assert fitted.best_epoch == scores.index(max(scores)) + 1
    assert len(scores) == min(fitted.best_epoch + 3, 200) < 200


def test_epochs_are_chosen_by_the_evaluation_of_the_test(tmp_path: Path) -> None:
    config = TrainingConfig(epochs=4, batch_size=32)
    models = {name: student() for name in ("before", "hidden", "shown")}
    evaluated = {
        "before": {},
        "hidden": {"evaluation": EvaluationConfig()},
        "shown": {"evaluation": EvaluationConfig(hide_seen=False)},
    }
    for name in models:
        (tmp_path / name).mkdir()
    fitted = {
        name: fit(model, SPLIT, [], config, Silent(), tmp_path / name, **evaluated[name])
        for name, model in models.items()
    }

    def diary(name: str) -> list[tuple[object, ...]]:
        return [(entry.epoch, entry.loss, entry.ndcg, entry.hit_rate) for entry in fitted[name].log]

    assert diary("before") == diary("hidden")
    assert np.array_equal(fitted["before"].validation_ranks, fitted["hidden"].validation_ranks)
    for key, value in models["before"].state_dict().items():
        assert torch.equal(value, models["hidden"].state_dict()[key]), key

    assert [entry.loss for entry in fitted["shown"].log] == [entry.loss for entry in fitted["hidden"].log]
    assert diary("shown") != diary("hidden")
    ranks = validation_ranks(models["shown"], SPLIT.validation, EvaluationConfig(hide_seen=False))
    assert np.array_equal(fitted["shown"].validation_ranks, ranks)
    scores = [entry.ndcg for entry in fitted["shown"].log if entry.ndcg is not None]
    assert float(ndcg(ranks, 10).mean()) == max(scores)


def test_refit_runs_the_given_epochs_of_the_same_schedule(tmp_path: Path) -> None:
    refit = ring()
    refit = type(refit)(**{**vars(refit), "validation": None, "protocol": "refit"})
    fitted = fit(student(), refit, [], TrainingConfig(epochs=20, batch_size=32), Silent(), tmp_path, stop_after=3)
    assert [entry.epoch for entry in fitted.log] == [1, 2, 3]
    assert fitted.best_epoch == 3
    assert fitted.validation_ranks is None


def test_training_never_looks_at_the_test(tmp_path: Path) -> None:
    config = TrainingConfig(epochs=3, batch_size=32)
    weights = []
    for name, split in (("whole", SPLIT), ("blind", replace(SPLIT, test=None))):  # type: ignore[arg-type]
        (tmp_path / name).mkdir()
        model = student()
        fit(model, split, [objective(model)], config, Silent(), tmp_path / name)
        weights.append(model.state_dict())
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())


def test_an_objective_works_in_its_epochs_only(tmp_path: Path) -> None:
    model = student()
    fitted = fit(model, SPLIT, [objective(model)], TrainingConfig(epochs=5, batch_size=32), Silent(), tmp_path)
    assert ["profile" in entry.objectives for entry in fitted.log] == [True, True, True, False, False]
    # match_scale would make the scaled value equal to the own loss; the raw one is what is logged
    assert fitted.log[0].objectives["profile"] != pytest.approx(fitted.log[0].loss, rel=0.05)


def test_negatives_come_as_often_as_expected() -> None:
    sampler = Negatives(SPLIT, power=1.0, expected_of=100)
    torch.manual_seed(0)
    drawn = torch.bincount(sampler.draw(100_000), minlength=len(SPLIT.item_index) + 1)
    assert drawn[0] == 0
    expected = sampler.log_expected_N[1:].exp() * 1000
    torch.testing.assert_close(drawn[1:].float(), expected, rtol=0.1, atol=50)


def test_the_rate_warms_up_and_falls() -> None:
    factor: Callable[[int], float] = lambda step: learning_rate_factor(step, 100, 10, "cosine")  # noqa: E731
    assert factor(0) == pytest.approx(0.1)
    assert factor(10) == pytest.approx(1.0)
    assert factor(99) < 0.02
    assert learning_rate_factor(99, 100, 10, "constant") == 1.0


def test_a_time_budget_shortens_the_training_and_its_schedule(tmp_path: Path) -> None:
    config = TrainingConfig(epochs=10_000, batch_size=32, patience=10_000, max_minutes=0.02)
    fitted = fit(student(), SPLIT, [], config, Silent(), tmp_path)
    assert 1 <= len(fitted.log) < 10_000
    (tmp_path / "two").mkdir()
    whole = fit(student(), SPLIT, [], config.model_copy(update={"epochs": 2}), Silent(), tmp_path / "two")
    assert len(whole.log) == 2


def test_a_time_budget_never_exceeds_the_number_of_epochs_that_was_asked_for(tmp_path: Path) -> None:
    config = TrainingConfig(epochs=50, batch_size=32, max_minutes=10.0)
    assert len(fit(student(), SPLIT, [], config, Silent(), tmp_path, stop_after=2).log) == 2


def test_a_time_budget_ends_the_first_epoch_of_a_large_log(tmp_path: Path) -> None:
    config = TrainingConfig(epochs=50, batch_size=2, max_minutes=1e-6)
    fitted = fit(student(), SPLIT, [], config, Silent(), tmp_path)
    (only,) = fitted.log
    assert 0 < only.share < 1
    assert only.ndcg is not None
    assert fitted.best_epoch == 1
    assert f"epoch 1, {only.share:.0%} of its steps" in only.describe()
    resumed = fit(student(), SPLIT, [], config, Silent(), tmp_path)
    assert resumed.log == fitted.log
