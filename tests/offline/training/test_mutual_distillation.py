"""Two models that teach each other in turns: what each hears, of whom, and that both modes learn."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from retort.offline.common.progress import Silent
from retort.offline.data.split import Split
from retort.offline.students import bert4rec, gru4rec, sasrec
from retort.offline.students._base import Student
from retort.offline.teachers._list_collector import ListCollector, TeacherOutputs
from retort.offline.teachers._train_events import TrainEvents
from retort.offline.teachers._trainable import StudentPredictions
from retort.offline.teachers.config import MutualConfig, TextEncoderConfig
from retort.offline.teachers.text_encoder import TextEncoder
from retort.offline.training.config import TrainingConfig
from retort.offline.training.loop import fit
from retort.offline.training.mutual_distillation import only, run_mutual_distillation
from retort.offline.training.student_predictions import collect_student_predictions
from tests.offline._worlds import ring
from tests.offline.teachers.test_text_encoder import HAS_ITEM, N_ITEMS, circle

SPLIT = ring(N_ITEMS)
TRAINING = TrainingConfig(epochs=6, batch_size=16, negatives=12, warmup_steps=5, learning_rate=1e-2, bf16=False)
READS = TextEncoderConfig(
    width=4, history=1, hide_seen=False, batch_size=64, epochs=15, learning_rate=2e-2, k=5, temperature=2.0
)


def new_student() -> Student:
    torch.manual_seed(0)
    return sasrec.Model(sasrec.Config(embedding_dim=16, max_length=6, dropout=0.0), N_ITEMS)


class Watched(TextEncoder):
    """Notes what it learns and hears."""

    def __init__(self, events: TrainEvents, log: list[dict[str, Any]]) -> None:
        super().__init__(events, circle(), HAS_ITEM, READS)
        self.log = log

    def set_item_vectors(self, vectors_ND: torch.Tensor) -> None:
        super().set_item_vectors(vectors_ND)
        self.log.append({"me": id(self), "vectors": vectors_ND.clone()})

    def tune_on(self, events: np.ndarray, student: StudentPredictions | None) -> float:
        self.log[-1] |= {"events": events, "heard": student, "loss": super().tune_on(events, student)}
        return float(self.log[-1]["loss"])


def turns(**knobs: Any) -> tuple[TeacherOutputs, list[dict[str, Any]]]:
    log: list[dict[str, Any]] = []
    config = MutualConfig(**{"student_epochs": 15, "loops": 2, "k": 5, **knobs})
    outputs = run_mutual_distillation(
        SPLIT, new_student, lambda events: Watched(events, log), TRAINING, config, Silent()
    )
    return outputs, log


@pytest.fixture(scope="module")
def repaired() -> tuple[TeacherOutputs, list[dict[str, Any]]]:
    return turns()


def test_no_model_predicts_rows_of_its_own_training(repaired: tuple[TeacherOutputs, list[dict[str, Any]]]) -> None:
    outputs, log = repaired
    users = TrainEvents(SPLIT.train).users
    learnt = [set(users[entry["events"]]) for entry in log]
    assert len(log) == 4
    assert learnt[0] == learnt[2]
    assert not learnt[0] & learnt[1]
    assert learnt[0] | learnt[1] == set(range(len(SPLIT.train)))
    assert (outputs.distributions.rows_E >= 0).sum() == len(SPLIT.train.values) - len(SPLIT.train)
    assert outputs.distributions.learner_ranks is not None
    assert len(outputs.distributions.learner_ranks) == len(outputs.distributions.true_ranks)


def test_item_vectors_are_renewed_and_ranks_are_known_from_the_second_loop(
    repaired: tuple[TeacherOutputs, list[dict[str, Any]]],
) -> None:
    _, log = repaired
    assert log[0]["me"] == log[2]["me"]
    assert not torch.equal(log[0]["vectors"], log[2]["vectors"])
    assert log[0]["heard"].distributions.learner_ranks is None
    assert log[2]["heard"].distributions.learner_ranks is not None
    assert log[2]["loss"] < log[0]["loss"]


def test_both_modes_learn_the_ring(repaired: tuple[TeacherOutputs, list[dict[str, Any]]]) -> None:
    faithful, log = turns(mode="faithful")
    assert len(log) == 2
    assert set(log[0]["events"]) == set(np.flatnonzero(faithful.rankings.rows_E >= 0))
    for outputs, _ in (repaired, (faithful, log)):
        events = np.flatnonzero(outputs.rankings.rows_E >= 0)
        first = outputs.rankings.items[outputs.rankings.rows_E[events], 0]
        assert (first == SPLIT.train.values[events]).mean() > 0.9


def test_the_students_predictions_reach_the_teacher() -> None:
    """Texts that say nothing: without the student the teacher guesses, with its word and vectors it follows."""
    blank = np.tile(np.array([1.0, 0, 0, 0], np.float32), (N_ITEMS + 1, 1)) * HAS_ITEM[:, None]
    blank += 1e-4 * np.random.default_rng(0).standard_normal(blank.shape).astype(np.float32)
    config = MutualConfig(student_epochs=15, loops=1, k=5, downward=1.0)

    def found(knobs: MutualConfig, id_weight: float) -> float:
        reads = READS.model_copy(update={"id_weight": id_weight})
        outputs = run_mutual_distillation(
            SPLIT, new_student, lambda events: TextEncoder(events, blank, HAS_ITEM, reads), TRAINING, knobs, Silent()
        )
        return float((outputs.distributions.true_ranks == 1).mean())

    alone = config.model_copy(update={"downward": 0.0})
    assert found(alone, 0.0) < 0.6
    assert found(config, 1.0) > 0.9


def test_the_events_of_some_users_alone() -> None:
    users = np.arange(len(SPLIT.train)) % 3 == 0
    part, kept = only(SPLIT, users)
    assert part.validation is None
    assert len(part.train) == len(SPLIT.train)
    assert (part.train.values == SPLIT.train.values[kept]).all()
    np.testing.assert_array_equal(part.train[3], SPLIT.train[3])
    assert len(part.train[1]) == 0


@pytest.mark.parametrize("kind", [sasrec, gru4rec, bert4rec])
def test_any_student_predicts_the_next_events(kind: Any, tmp_path: Path) -> None:
    split: Split = ring(N_ITEMS)
    torch.manual_seed(0)
    student = kind.Model(kind.Config(embedding_dim=16, max_length=4, dropout=0.0), N_ITEMS)
    epochs = 40 if kind is bert4rec else 10
    fit(student, split, [], TRAINING.model_copy(update={"epochs": epochs}), Silent(), tmp_path)
    evaluated = np.flatnonzero(TrainEvents(split.train).nth.numpy() > 0)[::2]
    lists = ListCollector(len(split.train.values), evaluated, 3, 1.0)
    collect_student_predictions(student, split.train, evaluated, lists, hide_seen=True)
    assert (lists.items[:, 0] == split.train.values[evaluated]).mean() > 0.8
    assert (lists.ranks >= 1).all()
    assert (lists.shares.sum(1) <= 1 + 1e-5).all()
