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
from retort.offline.teachers._list_collector import Lists, Told
from retort.offline.teachers._queries import Events
from retort.offline.teachers._trainable import StudentSaid
from retort.offline.teachers.config import MutualConfig, TextEncoderConfig
from retort.offline.teachers.text_encoder import TextEncoder
from retort.offline.training.config import TrainingConfig
from retort.offline.training.loop import fit
from retort.offline.training.mutual_distillation import only, take_turns
from retort.offline.training.student_predictions import student_says
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

    def __init__(self, events: Events, log: list[dict[str, Any]]) -> None:
        super().__init__(events, circle(), HAS_ITEM, READS)
        self.log = log

    def take_items(self, vectors_ND: torch.Tensor) -> None:
        super().take_items(vectors_ND)
        self.log.append({"me": id(self), "vectors": vectors_ND.clone()})

    def learn(self, events: np.ndarray, student: StudentSaid | None) -> float:
        self.log[-1] |= {"events": events, "heard": student, "loss": super().learn(events, student)}
        return float(self.log[-1]["loss"])


def turns(**knobs: Any) -> tuple[Told, list[dict[str, Any]]]:
    log: list[dict[str, Any]] = []
    config = MutualConfig(**{"student_epochs": 15, "loops": 2, "k": 5, **knobs})
    told = take_turns(SPLIT, new_student, lambda events: Watched(events, log), TRAINING, config, Silent())
    return told, log


@pytest.fixture(scope="module")
def repaired() -> tuple[Told, list[dict[str, Any]]]:
    return turns()


def test_nobody_speaks_of_a_user_they_were_trained_on(repaired: tuple[Told, list[dict[str, Any]]]) -> None:
    told, log = repaired
    users = Events(SPLIT.train).users
    learnt = [set(users[entry["events"]]) for entry in log]
    assert len(log) == 4
    assert learnt[0] == learnt[2]
    assert not learnt[0] & learnt[1]
    assert learnt[0] | learnt[1] == set(range(len(SPLIT.train)))
    assert (told.distributions.rows_E >= 0).sum() == len(SPLIT.train.values) - len(SPLIT.train)
    assert told.distributions.listener_ranks is not None
    assert len(told.distributions.listener_ranks) == len(told.distributions.true_ranks)


def test_item_vectors_are_read_anew_and_ranks_are_known_from_the_second_loop(
    repaired: tuple[Told, list[dict[str, Any]]],
) -> None:
    _, log = repaired
    assert log[0]["me"] == log[2]["me"]
    assert not torch.equal(log[0]["vectors"], log[2]["vectors"])
    assert log[0]["heard"].distributions.listener_ranks is None
    assert log[2]["heard"].distributions.listener_ranks is not None
    assert log[2]["loss"] < log[0]["loss"]


def test_both_modes_learn_the_ring(repaired: tuple[Told, list[dict[str, Any]]]) -> None:
    faithful, log = turns(mode="faithful")
    assert len(log) == 2
    assert set(log[0]["events"]) == set(np.flatnonzero(faithful.rankings.rows_E >= 0))
    for told, _ in (repaired, (faithful, log)):
        events = np.flatnonzero(told.rankings.rows_E >= 0)
        first = told.rankings.items[told.rankings.rows_E[events], 0]
        assert (first == SPLIT.train.values[events]).mean() > 0.9


def test_what_the_student_says_reaches_a_recommender_that_could_not_know_it() -> None:
    """Texts that say nothing: without the student the teacher guesses, with its word and vectors it follows."""
    blank = np.tile(np.array([1.0, 0, 0, 0], np.float32), (N_ITEMS + 1, 1)) * HAS_ITEM[:, None]
    blank += 1e-4 * np.random.default_rng(0).standard_normal(blank.shape).astype(np.float32)
    config = MutualConfig(student_epochs=15, loops=1, k=5, downward=1.0)

    def found(knobs: MutualConfig, id_weight: float) -> float:
        reads = READS.model_copy(update={"id_weight": id_weight})
        told = take_turns(
            SPLIT, new_student, lambda events: TextEncoder(events, blank, HAS_ITEM, reads), TRAINING, knobs, Silent()
        )
        return float((told.distributions.true_ranks == 1).mean())

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
def test_any_student_is_asked_about_what_came_next(kind: Any, tmp_path: Path) -> None:
    split: Split = ring(N_ITEMS)
    torch.manual_seed(0)
    student = kind.Model(kind.Config(embedding_dim=16, max_length=4, dropout=0.0), N_ITEMS)
    epochs = 40 if kind is bert4rec else 10
    fit(student, split, [], TRAINING.model_copy(update={"epochs": epochs}), Silent(), tmp_path)
    asked = np.flatnonzero(Events(split.train).nth.numpy() > 0)[::2]
    lists = Lists(len(split.train.values), asked, 3, 1.0)
    student_says(student, split.train, asked, lists, hide_seen=True)
    assert (lists.items[:, 0] == split.train.values[asked]).mean() > 0.8
    assert (lists.ranks >= 1).all()
    assert (lists.shares.sum(1) <= 1 + 1e-5).all()
