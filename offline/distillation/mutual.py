"""Mutual distillation, the student's loss of LLMD4Rec, https://arxiv.org/abs/2505.18120.

The loss is KL(teacher ‖ student) at a temperature. Each position is weighted by the two ranks of the true item: weights
are up to 2 where the student ranks it worse, down to 0 where the student ranks it better. The best K probabilities of
the teacher and the sum of all others are kept; this KL is never above the full one. mode "faithful" takes the student's
rank during training, on a row that it has memorised. mode "repaired" takes the rank by a student that had not seen the
user, where the lists have it (`[teacher] lists = "mutual"`, whose last loop is the training with this objective).

Shapes: M positions with a teacher row, K kept items, R stored distributions, N n_items + 1, D embedding_dim.
"""

from typing import ClassVar

import torch
from torch import Tensor

from retort.offline.distillation._base import Objective, StudentOutput, zero_loss
from retort.offline.distillation._teacher_positions import TeacherPositions, teacher_positions
from retort.offline.distillation.configs.mutual import Config
from retort.offline.losses.truncated_kl import Weigh, by_current_ranks, rank_weights, tail_divergence
from retort.offline.students._base import Student
from retort.offline.teachers.teacher import Teacher
from retort.shared.base.errors import TeacherError


class Model(Objective):
    """T² times the mean over positions of weight · KL."""

    reads_products: ClassVar[bool] = True
    config: Config
    rows_E: Tensor
    items_RK: Tensor
    shares_RK: Tensor
    ranks_R: Tensor
    own_ranks_R: Tensor

    def __init__(self, config: Config, student: Student, teacher: Teacher) -> None:
        super().__init__(config, student, teacher)
        stored = teacher.distributions
        if stored is None:
            raise TeacherError(
                "the objective 'mutual' needs distributions over items; name their source in [teacher] lists."
            )
        self.temperature = stored.temperature
        self.register_buffer("rows_E", torch.from_numpy(stored.rows_E), persistent=False)
        self.register_buffer("items_RK", torch.from_numpy(stored.items), persistent=False)
        self.register_buffer("shares_RK", torch.from_numpy(stored.probabilities), persistent=False)
        self.register_buffer("ranks_R", torch.from_numpy(stored.true_ranks), persistent=False)
        own = stored.learner_ranks if config.mode == "repaired" else None
        self.knows_own_ranks = own is not None
        self.register_buffer("own_ranks_R", torch.empty(0) if own is None else torch.from_numpy(own), persistent=False)

    def forward(self, output: StudentOutput) -> Tensor:
        here = teacher_positions(output, self.rows_E, self.config.positions)
        if not len(here.rows_M):
            return zero_loss(output)
        items_MK, shares_MK = self.items_RK[here.rows_M], self.shares_RK[here.rows_M]
        listening = self._sample_weights(here)
        divergence = tail_divergence(
            here.states_MD, output.table_ND, items_MK, shares_MK, listening, self.temperature, bf16=output.bf16
        )
        return self.temperature**2 * divergence

    def _sample_weights(self, here: TeacherPositions) -> Tensor | Weigh:
        if not self.config.weigh_samples:
            return here.states_MD.new_ones(len(here.rows_M))
        theirs_M = self.ranks_R[here.rows_M]
        if self.knows_own_ranks:
            return rank_weights(self.own_ranks_R[here.rows_M], theirs_M)[0]
        return by_current_ranks(here.targets_M, theirs_M)
