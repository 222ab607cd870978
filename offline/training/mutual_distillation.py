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
from retort.offline.teachers._list_collector import ListCollector, TeacherOutputs
from retort.offline.teachers._train_events import TrainEvents, chunks, user_folds
from retort.offline.teachers._trainable import StudentPredictions, TrainableTeacher
from retort.offline.teachers.config import MutualConfig
from retort.offline.teachers.teacher import BoolArray, Distributions, IntArray, Teacher
from retort.offline.training.config import TrainingConfig
from retort.offline.training.loop import fit
from retort.offline.training.student_predictions import collect_student_predictions

_EVENTS_AT_ONCE = 1024


@dataclass(frozen=True)
class _Pair:
    """Two models that learn from the users in `trained_U`, and answer for the events in `held`."""

    student: Student
    teacher_model: TrainableTeacher
    trained_U: BoolArray
    held: IntArray


@dataclass(frozen=True)
class MutualDistillation:
    """All that the loop works with. events: the questions, which `learners` were made for too."""

    split: Split
    events: TrainEvents
    training: TrainingConfig
    config: MutualConfig
    progress: Progress

    def take(
        self, new_student: Callable[[], Student], new_teacher: Callable[[TrainEvents], TrainableTeacher]
    ) -> TeacherOutputs:
        """Run all loops and return what the recommender says at their end."""
        pairs = self._pairs(new_student, new_teacher)
        evaluated = np.sort(np.concatenate([pair.held for pair in pairs]))
        outputs: TeacherOutputs | None = None
        student_ranks: IntArray | None = None
        for loop in range(1, self.config.loops + 1):
            upward = None if outputs is None else _heard(outputs.distributions, student_ranks)
            student_told = self._students_turn(pairs, evaluated, upward, loop)
            student_ranks = student_told.distributions.true_ranks
            learner_ranks = None if outputs is None else outputs.distributions.true_ranks
            outputs = self._learners_turn(pairs, evaluated, _heard(student_told.distributions, learner_ranks), loop)
            self.progress.say(
                f"loop {loop} of {self.config.loops}: HR@10 on {self._rows()}: student {student_told.hit_rate:.3f}, "
                f"teacher {outputs.hit_rate:.3f}"
            )
        assert outputs is not None
        return replace(outputs, distributions=_heard(outputs.distributions, student_ranks))

    def _pairs(
        self, new_student: Callable[[], Student], new_teacher: Callable[[TrainEvents], TrainableTeacher]
    ) -> list[_Pair]:
        n_users = len(self.split.train)
        if self.config.mode == "faithful":
            teacher_model = new_teacher(self.events)
            return [_Pair(new_student(), teacher_model, np.ones(n_users, dtype=bool), teacher_model.evaluated)]
        folds_U = user_folds(n_users, self.config.folds, self.config.seed)
        pairs = []
        for fold in range(self.config.folds):
            teacher_model = new_teacher(self.events)
            held = teacher_model.evaluated[folds_U[self.events.users[teacher_model.evaluated]] == fold]
            pairs.append(_Pair(new_student(), teacher_model, folds_U != fold, held))
        return pairs

    def _students_turn(
        self, pairs: Sequence[_Pair], evaluated: IntArray, heard: Distributions | None, loop: int
    ) -> TeacherOutputs:
        config = self.config
        lists = ListCollector(len(self.events), evaluated, config.k, config.temperature)
        for number, pair in enumerate(pairs):
            self.progress.update(f"loop {loop}: students", number, len(pairs))
            self._fit(pair, heard)
            hide_seen = pair.teacher_model.hides_seen
            collect_student_predictions(pair.student, self.split.train, pair.held, lists, hide_seen=hide_seen)
        return lists.outputs()

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

    def _learners_turn(
        self, pairs: Sequence[_Pair], evaluated: IntArray, heard: Distributions, loop: int
    ) -> TeacherOutputs:
        config = self.config
        lists = ListCollector(len(self.events), evaluated, config.k, config.temperature)
        by_present_ranks = config.mode == "faithful"
        said = StudentPredictions(heard, config.downward, config.weigh_samples, by_present_ranks, self.training.bf16)
        for number, pair in enumerate(pairs):
            self.progress.update(f"loop {loop}: teachers", number, len(pairs))
            pair.teacher_model.set_item_vectors(pair.student.item_table().detach().cpu())
            mine = pair.teacher_model.eligible[pair.trained_U[self.events.users[pair.teacher_model.eligible]]]
            pair.teacher_model.tune_on(mine, said)
            for _, part in chunks(pair.held, _EVENTS_AT_ONCE):
                lists.fill(part, pair.teacher_model.recommend(part))
        return lists.outputs()

    def _rows(self) -> str:
        return "the rows they learnt" if self.config.mode == "faithful" else "users they had not seen"


def _heard(said: Distributions, learner_ranks: IntArray | None) -> Distributions:
    """The same rows in the same order, with the ranks of the one who is to listen."""
    return replace(said, learner_ranks=learner_ranks)


def only(split: Split, users_U: BoolArray) -> tuple[Split, BoolArray]:
    """The split with the train events of some users alone and no cases; and which events (E,) these are."""
    lengths = split.train.lengths
    kept_E: BoolArray = np.repeat(users_U, lengths)
    offsets = np.concatenate([[0], np.cumsum(lengths * users_U)]).astype(np.int64)
    return replace(split, train=Ragged(split.train.values[kept_E], offsets), validation=None), kept_E


def run_mutual_distillation(
    split: Split,
    new_student: Callable[[], Student],
    new_teacher: Callable[[TrainEvents], TrainableTeacher],
    training: TrainingConfig,
    config: MutualConfig,
    progress: Progress,
) -> TeacherOutputs:
    """The recommender's lists for the split's train events, after all loops; ranks of both sides are kept with them."""
    with torch.random.fork_rng():
        return MutualDistillation(split, TrainEvents(split.train), training, config, progress).take(
            new_student, new_teacher
        )
