"""Mutual distillation of LLMD4Rec, https://arxiv.org/abs/2505.18120, between a student and a language-model teacher.

In each loop the student is trained on its own loss and on the teacher's distributions (upward). Then the teacher
receives the student's item vectors and is trained on its own loss and on the student's distributions (downward). The
model that is not trained is frozen. Weights are kept from loop to loop, optimisers are not.

mode "faithful": one pair of models, which predict the rows they were trained on. mode "repaired" (default): users are
split into folds, each fold has a pair of models that is trained on all other users, and all predictions for a user,
ranks included, come from the pair of the user's fold. (This pair may learn from the predictions of other pairs for
users whom those pairs had not seen; but no model predicts rows of its own training.)

The result are the teacher's lists. The student that is served learns from them in the run's own training, by the
objective "mutual", from its own initial weights and with the plain student's budget.
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
    """Two models that are trained on the users in `trained_U` and predict the events in `held`."""

    student: Student
    teacher_model: TrainableTeacher
    trained_U: BoolArray
    held: IntArray


@dataclass(frozen=True)
class MutualDistillation:
    """Inputs of mutual distillation and its loops; the teachers are made for the same `events`."""

    split: Split
    events: TrainEvents
    training: TrainingConfig
    config: MutualConfig
    progress: Progress

    def run(
        self, new_student: Callable[[], Student], new_teacher: Callable[[TrainEvents], TrainableTeacher]
    ) -> TeacherOutputs:
        """Train all pairs for all loops, and return the teacher's outputs of the last loop."""
        pairs = self._pairs(new_student, new_teacher)
        evaluated = np.sort(np.concatenate([pair.held for pair in pairs]))
        outputs: TeacherOutputs | None = None
        student_ranks: IntArray | None = None
        for loop in range(1, self.config.loops + 1):
            upward = None if outputs is None else _with_learner_ranks(outputs.distributions, student_ranks)
            student_told = self._train_students(pairs, evaluated, upward, loop)
            student_ranks = student_told.distributions.true_ranks
            learner_ranks = None if outputs is None else outputs.distributions.true_ranks
            outputs = self._train_teachers(
                pairs, evaluated, _with_learner_ranks(student_told.distributions, learner_ranks), loop
            )
            self.progress.say(
                f"loop {loop} of {self.config.loops}, on {self._rows()}: student {student_told.line()}; "
                f"teacher {outputs.line()}"
            )
        assert outputs is not None
        return replace(outputs, distributions=_with_learner_ranks(outputs.distributions, student_ranks))

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

    def _train_students(
        self, pairs: Sequence[_Pair], evaluated: IntArray, targets: Distributions | None, loop: int
    ) -> TeacherOutputs:
        config = self.config
        lists = ListCollector(len(self.events), evaluated, config.k, config.temperature)
        for number, pair in enumerate(pairs):
            self.progress.update(f"loop {loop}: students", number, len(pairs))
            self._fit(pair, targets)
            hide_seen = pair.teacher_model.hides_seen
            collect_student_predictions(pair.student, self.split.train, pair.held, lists, hide_seen=hide_seen)
        return lists.outputs()

    def _fit(self, pair: _Pair, targets: Distributions | None) -> None:
        config = self.config
        split, kept_E = only(self.split, pair.trained_U)
        objectives = []
        if targets is not None and config.upward > 0:
            teacher = Teacher(distributions=replace(targets, rows_E=targets.rows_E[kept_E]))
            objective = MutualObjectiveConfig(
                name="mutual", weight=config.upward, mode=config.mode, weigh_samples=config.weigh_samples
            )
            objectives.append(mutual.Model(objective, pair.student, teacher).to(pair.student.items.weight.device))
        training = self.training.model_copy(update={"epochs": config.student_epochs, "seed": config.seed})
        with TemporaryDirectory() as work:
            fit(pair.student, split, objectives, training, Silent(), Path(work), stop_after=config.student_epochs)

    def _train_teachers(
        self, pairs: Sequence[_Pair], evaluated: IntArray, targets: Distributions, loop: int
    ) -> TeacherOutputs:
        config = self.config
        lists = ListCollector(len(self.events), evaluated, config.k, config.temperature)
        by_present_ranks = config.mode == "faithful"
        predictions = StudentPredictions(
            targets, config.downward, config.weigh_samples, by_present_ranks, self.training.bf16
        )
        for number, pair in enumerate(pairs):
            self.progress.update(f"loop {loop}: teachers", number, len(pairs))
            pair.teacher_model.set_item_vectors(pair.student.item_table().detach().cpu())
            mine = pair.teacher_model.eligible[pair.trained_U[self.events.users[pair.teacher_model.eligible]]]
            pair.teacher_model.tune_on(mine, predictions)
            for _, part in chunks(pair.held, _EVENTS_AT_ONCE):
                lists.fill(part, pair.teacher_model.recommend(part))
        return lists.outputs()

    def _rows(self) -> str:
        return "rows of their training" if self.config.mode == "faithful" else "users they had not seen"


def _with_learner_ranks(distributions: Distributions, learner_ranks: IntArray | None) -> Distributions:
    """The same distributions with the ranks of the model that learns from them."""
    return replace(distributions, learner_ranks=learner_ranks)


def only(split: Split, users_U: BoolArray) -> tuple[Split, BoolArray]:
    """Return the split with the train events of some users only and without cases, and a mask (E,) of these events."""
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
    """Train students and teachers in turn; return the teacher's lists, with the ranks of both sides."""
    with torch.random.fork_rng():
        return MutualDistillation(split, TrainEvents(split.train), training, config, progress).run(
            new_student, new_teacher
        )
