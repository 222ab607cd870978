"""Positions of a batch with a row in the teacher's table, and the student's scores there.

Shapes: B batch, T sequence, M positions, D embedding_dim, N n_items + 1, K candidates of a position, S negatives.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from retort.offline.distillation._base import StudentOutput
from retort.offline.distillation.configs._base import Positions
from retort.offline.losses.softmax import Competitors, Own, softmax_cross_entropy
from retort.shared.base.schema import PAD


@dataclass(frozen=True)
class TeacherPositions:
    """States (M, D), true items (M,) and teacher rows (M,) of the positions, and a mask of them (B, T)."""

    states_MD: Tensor
    targets_M: Tensor
    rows_M: Tensor
    cells_BT: Tensor


def teacher_positions(output: StudentOutput, rows_E: Tensor, positions: Positions) -> TeacherPositions:
    """Return the positions whose event has a row in the teacher's table.

    Args:
        output: The student's output for a batch.
        rows_E: Teacher row of each train event, −1 where there is none.
        positions: "all", or "last": only the newest position with a target of each row.
    """
    has_target_BT = output.events_BT >= 0
    if positions == "last":
        length = has_target_BT.shape[1]
        place_T = torch.arange(1, length + 1, device=has_target_BT.device)
        newest_B1 = (has_target_BT * place_T).amax(1, keepdim=True)
        has_target_BT = has_target_BT & (place_T == newest_B1)
    rows_BT = torch.where(has_target_BT, rows_E[output.events_BT.clamp(min=0)], -1)
    cells_BT = rows_BT >= 0
    return TeacherPositions(output.states[-1][cells_BT], output.targets_BT[cells_BT], rows_BT[cells_BT], cells_BT)


def candidate_scores(states_MD: Tensor, table_ND: Tensor, candidates_MK: Tensor) -> Tensor:
    """Return the student's scores (M, K) of each position's own candidates."""
    return torch.einsum("md,mkd->mk", states_MD, table_ND[candidates_MK])


def listed_cross_entropy(
    states_MD: Tensor, table_ND: Tensor, candidates_MK: Tensor, weights_MK: Tensor, n_negatives: int
) -> Tensor:
    """Return the mean over M of −Σ_K weight · log share, where shares are a softmax over the catalogue.

    The other items of the catalogue are sampled uniformly: each of `n_negatives` shared samples represents its share of
    them, and a sample that is a candidate does not count. With 0 the whole catalogue is scored. No gradient reaches the
    weights.
    """
    own = Own(candidates_MK, weights_MK.masked_fill(candidates_MK == PAD, 0.0))
    if n_negatives == 0:
        return softmax_cross_entropy(states_MD, table_ND, own, Competitors())
    n_items = len(table_ND) - 1
    drawn_S = torch.randint(PAD + 1, n_items + 1, (n_negatives,), device=states_MD.device)
    bias_S = states_MD.new_full((n_negatives,), math.log(n_items / n_negatives))
    return softmax_cross_entropy(states_MD, table_ND, own, Competitors(drawn_S, bias_S))


def info_nce(predicted_MP: Tensor, target_MP: Tensor, temperature: float) -> Tensor:
    """Return InfoNCE with in-batch negatives; 0 for a single row, which has no negatives."""
    logits_MM = functional.normalize(predicted_MP, dim=-1) @ functional.normalize(target_MP, dim=-1).T / temperature
    return functional.cross_entropy(logits_MM, torch.arange(len(logits_MM), device=logits_MM.device))
