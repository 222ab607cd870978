"""The upward half of LLMD4Rec, https://arxiv.org/abs/2505.18120: the student's distribution nears the teacher's.

KL(teacher ‖ student) at a temperature, each position weighted by whose rank of the true item is better: the model that
is worse listens up to twice as much, the better one down to not at all. Of the teacher the best K probabilities and
the mass of all others are kept; that KL is never above the full one. mode "faithful" takes the student's rank while it
trains, on a row that it has learnt by heart; "repaired" takes the rank of a student that had not seen the user, where
the lists know it (`[teacher] lists = "mutual"`, whose turns this objective ends).

Shapes: M asked positions, K kept items, R stored distributions, N n_items + 1, D embedding_dim.
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
    """T² · mean over positions of weight · KL."""

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
            raise TeacherError("the objective 'mutual' needs distributions over items; name their source in [teacher].")
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
