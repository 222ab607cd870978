"""LLMD4Rec's loop, https://arxiv.org/abs/2505.18120: a student and a language-model recommender teach each other.

In each loop the student learns from its own loss and from what the recommender said (upward), the recommender reads the
student's item vectors anew and learns from its own loss and from what the student said (downward); the one that does
not learn is frozen. Weights go on from loop to loop, optimisers start afresh.

mode "faithful": one pair of models, which speak of the rows they were trained on. mode "repaired" (default): users are
in groups, each group has a pair of models that is trained on all other users, and everything said of a user, ranks
included, is said by the pair of the user's group. (That pair may still hear, from other pairs, of users whom those
pairs had not seen either; but nobody is asked about rows of their own training.)

What comes out are the recommender's lists. The student that is served takes the last turn in the run's own training,
by the objective "mutual", from its own first weights and with the plain student's budget.
"""

# Shapes: E train events, U users, N n_items + 1, D embedding_dim

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from retort.offline.common.progress import Progress, Silent
from retort.offline.data.ragged import Ragged
from retort.offline.data.split import Split
from retort.offline.distillation import mutual
from retort.offline.distillation.configs.mutual import Config as MutualObjectiveConfig
from retort.offline.students._base import Student
from retort.offline.teachers._list_collector import Lists, Told
from retort.offline.teachers._queries import Events, parts, user_folds
from retort.offline.teachers._trainable import Learner, StudentSaid
from retort.offline.teachers.config import MutualConfig
from retort.offline.teachers.teacher import BoolArray, Distributions, IntArray, Teacher
from retort.offline.training.config import TrainingConfig
from retort.offline.training.loop import fit
from retort.offline.training.student_predictions import student_says

_EVENTS_AT_ONCE = 1024


@dataclass(frozen=True)
class _Pair:
    """Two models that learn from the users in `trained_U`, and answer for the events in `held`."""

    student: Student
    learner: Learner
    trained_U: BoolArray
    held: IntArray


@dataclass(frozen=True)
class Turns:
    """All that the loop works with. events: the questions, which `learners` were made for too."""

    split: Split
    events: Events
    training: TrainingConfig
    config: MutualConfig
    progress: Progress

    def take(self, new_student: Callable[[], Student], new_learner: Callable[[Events], Learner]) -> Told:
        """Run all loops and return what the recommender says at their end."""
        pairs = self._pairs(new_student, new_learner)
        asked = np.sort(np.concatenate([pair.held for pair in pairs]))
        told: Told | None = None
        student_ranks: IntArray | None = None
        for loop in range(1, self.config.loops + 1):
            upward = None if told is None else _heard(told.distributions, student_ranks)
            student_told = self._students_turn(pairs, asked, upward, loop)
            student_ranks = student_told.distributions.true_ranks
            learner_ranks = None if told is None else told.distributions.true_ranks
            told = self._learners_turn(pairs, asked, _heard(student_told.distributions, learner_ranks), loop)
            self.progress.say(
                f"loop {loop} of {self.config.loops}: HR@10 on {self._rows()}: student {student_told.hit_rate:.3f}, "
                f"teacher {told.hit_rate:.3f}"
            )
        assert told is not None
        return replace(told, distributions=_heard(told.distributions, student_ranks))

    def _pairs(self, new_student: Callable[[], Student], new_learner: Callable[[Events], Learner]) -> list[_Pair]:
        n_users = len(self.split.train)
        if self.config.mode == "faithful":
            learner = new_learner(self.events)
            return [_Pair(new_student(), learner, np.ones(n_users, dtype=bool), learner.asked)]
        folds_U = user_folds(n_users, self.config.folds, self.config.seed)
        pairs = []
        for fold in range(self.config.folds):
            learner = new_learner(self.events)
            held = learner.asked[folds_U[self.events.users[learner.asked]] == fold]
            pairs.append(_Pair(new_student(), learner, folds_U != fold, held))
        return pairs

    def _students_turn(self, pairs: Sequence[_Pair], asked: IntArray, heard: Distributions | None, loop: int) -> Told:
        config = self.config
        lists = Lists(len(self.events), asked, config.k, config.temperature)
        for number, pair in enumerate(pairs):
            self.progress.update(f"loop {loop}: students", number, len(pairs))
            self._fit(pair, heard)
            hide_seen = pair.learner.hides_seen
            student_says(pair.student, self.split.train, pair.held, lists, hide_seen=hide_seen)
        return lists.told()

    def _fit(self, pair: _Pair, heard: Distributions | None) -> None:
        config = self.config
        split, kept_E = only(self.split, pair.trained_U)
        objectives = []
        if heard is not None and config.upward > 0:
            teacher = Teacher(distributions=replace(heard, rows_E=heard.rows_E[kept_E]))
            said = MutualObjectiveConfig(
                name="mutual", weight=config.upward, mode=config.mode, weigh_samples=config.weigh_samples
            )
            objectives.append(mutual.Model(said, pair.student, teacher).to(pair.student.items.weight.device))
        training = self.training.model_copy(update={"epochs": config.student_epochs, "seed": config.seed})
        with TemporaryDirectory() as work:
            fit(pair.student, split, objectives, training, Silent(), Path(work), stop_after=config.student_epochs)

    def _learners_turn(self, pairs: Sequence[_Pair], asked: IntArray, heard: Distributions, loop: int) -> Told:
        config = self.config
        lists = Lists(len(self.events), asked, config.k, config.temperature)
        by_present_ranks = config.mode == "faithful"
        said = StudentSaid(heard, config.downward, config.weigh_samples, by_present_ranks, self.training.bf16)
        for number, pair in enumerate(pairs):
            self.progress.update(f"loop {loop}: teachers", number, len(pairs))
            pair.learner.take_items(pair.student.item_table().detach().cpu())
            mine = pair.learner.askable[pair.trained_U[self.events.users[pair.learner.askable]]]
            pair.learner.learn(mine, said)
            for _, part in parts(pair.held, _EVENTS_AT_ONCE):
                lists.fill(part, pair.learner.answer(part))
        return lists.told()

    def _rows(self) -> str:
        return "the rows they learnt" if self.config.mode == "faithful" else "users they had not seen"


def _heard(said: Distributions, listener_ranks: IntArray | None) -> Distributions:
    """The same rows in the same order, with the ranks of the one who is to listen."""
    return replace(said, listener_ranks=listener_ranks)


def only(split: Split, users_U: BoolArray) -> tuple[Split, BoolArray]:
    """The split with the train events of some users alone and no cases; and which events (E,) these are."""
    lengths = split.train.lengths
    kept_E: BoolArray = np.repeat(users_U, lengths)
    offsets = np.concatenate([[0], np.cumsum(lengths * users_U)]).astype(np.int64)
    return replace(split, train=Ragged(split.train.values[kept_E], offsets), validation=None), kept_E


def take_turns(
    split: Split,
    new_student: Callable[[], Student],
    new_learner: Callable[[Events], Learner],
    training: TrainingConfig,
    config: MutualConfig,
    progress: Progress,
) -> Told:
    """The recommender's lists for the split's train events, after all loops; ranks of both sides are kept with them."""
    with torch.random.fork_rng():
        return Turns(split, Events(split.train), training, config, progress).take(new_student, new_learner)
