"""Importance-aware ranking distillation of DLLM2Rec, https://arxiv.org/abs/2405.00338.

The weight of a candidate depends on its position in the teacher's list, on the teacher's confidence in the list, and on
whether the student lists it too. mode "faithful": equations 5 to 10 of the paper, with independent losses of candidates
and the student's list computed with dropout. mode "repaired" (default): position weights sum to 1; confidence is the
percentile of the true item's distance and stays a property of the list (the published code normalises it away); the
student's list is computed in evaluation mode; candidates compete with the catalogue in a softmax, as in the student's
own loss. The student's list costs a second forward pass and the scores of the whole catalogue, so it is kept for some
epochs: it changes slowly and has the smallest weight of the three.

Shapes: M positions with a teacher row, K candidates, R lists, D embedding_dim, N n_items + 1.
"""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from retort.offline.distillation._base import Objective, StudentOutput, zero_loss
from retort.offline.distillation._teacher_positions import candidate_scores, listed_cross_entropy, teacher_positions
from retort.offline.distillation.configs.ranking import Config
from retort.offline.students._base import Student
from retort.offline.teachers.teacher import Rankings, Teacher
from retort.shared.base.errors import TeacherError
from retort.shared.base.schema import PAD


class Model(Objective):
    """Weighted losses (M, K) of the candidates, summed over a list and averaged over lists."""

    reads_products: ClassVar[bool] = True
    config: Config
    rows_E: Tensor
    items_RK: Tensor
    confidence_R: Tensor
    shared_RK: Tensor
    visits_R: Tensor

    def __init__(self, config: Config, student: Student, teacher: Teacher) -> None:
        super().__init__(config, student, teacher)
        if teacher.rankings is None:
            raise TeacherError(
                "the objective 'ranking' needs a teacher's rankings; name their source in [teacher] lists."
            )
        rankings = teacher.rankings
        self.register_buffer("rows_E", torch.from_numpy(rankings.rows_E), persistent=False)
        self.register_buffer("items_RK", torch.from_numpy(rankings.items[:, : config.k]), persistent=False)
        self.register_buffer("confidence_R", _confidence(rankings, config), persistent=False)
        # persistent, so that a resumed training continues with the same lists
        keeps = config.mode == "repaired" and config.gamma_consistency > 0 and config.consistency_every > 1
        n_kept = len(self.items_RK) if keeps else 0
        self.register_buffer("shared_RK", torch.zeros(n_kept, self.items_RK.shape[1], dtype=torch.bool))
        self.register_buffer("visits_R", torch.zeros(n_kept, dtype=torch.int32))
        self._student = [student]  # in a list: the student's parameters are not parameters of the objective

    def forward(self, output: StudentOutput) -> Tensor:
        here = teacher_positions(output, self.rows_E, self.config.positions)
        if not len(here.rows_M):
            return zero_loss(output)
        candidates_MK = self.items_RK[here.rows_M]
        weights_MK = self.weights(output, here.cells_BT, here.states_MD, here.rows_M)
        if self.config.mode == "repaired":
            negatives = self.config.negatives
            return listed_cross_entropy(here.states_MD, output.table_ND, candidates_MK, weights_MK, negatives)
        losses_MK = functional.softplus(-candidate_scores(here.states_MD, output.table_ND, candidates_MK))
        return (weights_MK * losses_MK.masked_fill(candidates_MK == PAD, 0.0)).sum(-1).mean()

    @torch.no_grad()
    def weights(self, output: StudentOutput, cells_BT: Tensor, states_MD: Tensor, rows_M: Tensor) -> Tensor:
        """Return γ_p · position + γ_c · confidence + γ_o · consistency (M, K); 0 where the list is shorter than K."""
        config, candidates_MK = self.config, self.items_RK[rows_M]
        real_MK = candidates_MK != PAD
        place_MK = self._place(real_MK)
        sure_M1 = self.confidence_R[rows_M][:, None]
        if config.mode == "repaired":
            sure_M1 = sure_M1 / real_MK.sum(-1, keepdim=True).clamp(min=1)
        total_MK = config.gamma_position * place_MK + config.gamma_confidence * sure_M1
        if config.gamma_consistency > 0:
            both_MK = self._consistency(output, cells_BT, states_MD, rows_M).to(total_MK.dtype)
            if config.mode == "repaired":
                both_MK = both_MK / both_MK.sum(-1, keepdim=True).clamp(min=1)
            total_MK = total_MK + config.gamma_consistency * both_MK
        return total_MK * real_MK

    def _consistency(self, output: StudentOutput, cells_BT: Tensor, states_MD: Tensor, rows_M: Tensor) -> Tensor:
        """(M, K) bool: candidates that the student lists too; repaired: when its list was last computed."""
        if self.config.mode == "faithful":
            return self._shared(states_MD, output.table_ND, self.items_RK[rows_M])
        if not len(self.visits_R):
            return self._shared(self._evaluated(output.items_BT)[cells_BT], output.table_ND, self.items_RK[rows_M])
        due_M = self.visits_R[rows_M] % self.config.consistency_every == 0
        if due_M.any():
            cells_BT = cells_BT.clone()
            cells_BT[cells_BT.clone()] = due_M
            some_B = cells_BT.any(1)
            states_MD = self._evaluated(output.items_BT[some_B])[cells_BT[some_B]]
            rows_due = rows_M[due_M]
            self.shared_RK[rows_due] = self._shared(states_MD, output.table_ND, self.items_RK[rows_due])
        self.visits_R[rows_M] += 1
        return self.shared_RK[rows_M]

    def _place(self, real_MK: Tensor) -> Tensor:
        places_K = torch.arange(1, real_MK.shape[1] + 1, device=real_MK.device)
        falling_MK = torch.exp(-places_K / self.config.position_scale) * real_MK
        if self.config.mode == "faithful":
            return falling_MK
        return falling_MK / falling_MK.sum(-1, keepdim=True).clamp(min=1e-12)

    def _shared(self, states_MD: Tensor, table_ND: Tensor, candidates_MK: Tensor) -> Tensor:
        """(M, K) bool: candidates in the student's own top K."""
        k = min(self.config.k, len(table_ND) - 1)
        mine_MK = (states_MD @ table_ND[PAD + 1 :].T).topk(k, dim=1).indices + PAD + 1
        return (candidates_MK[:, :, None] == mine_MK[:, None, :]).any(-1)

    def _evaluated(self, items_BT: Tensor) -> Tensor:
        """(B, T, D): the last states without dropout."""
        student = self._student[0]
        was_training = student.training
        student.eval()
        states_BTD = student.hidden_states(items_BT)[-1]
        student.train(was_training)
        return states_BTD


def _confidence(rankings: Rankings, config: Config) -> Tensor:
    """(R,): confidence of the teacher; faithful: exp(−d*), repaired: share of lists with a farther true item."""
    d_star_R = torch.from_numpy(rankings.d_star)
    if config.gamma_confidence == 0:
        return torch.zeros_like(d_star_R)  # unknown distances are NaN, and 0 · NaN is NaN
    if d_star_R.isnan().any():
        raise TeacherError(
            f"{int(d_star_R.isnan().sum())} of {len(d_star_R)} rankings lack the distance of the true item (d_star); "
            "give it, or set gamma_confidence = 0 for the objective 'ranking'."
        )
    if config.mode == "faithful":
        return torch.exp(-d_star_R)
    ascending_R = d_star_R.sort().values
    farther_R = len(d_star_R) - torch.searchsorted(ascending_R, d_star_R, right=True)
    as_far_R = len(d_star_R) - torch.searchsorted(ascending_R, d_star_R, right=False)
    return (farther_R + as_far_R) / (2 * max(1, len(d_star_R)))  # equals share the middle
