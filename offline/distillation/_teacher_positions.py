"""The positions of a batch at which a teacher was asked, and the student's scores there.

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
    """states (M, D), the item truly taken (M,), the teacher's row (M,), and which cells of (B, T) these are."""

    states_MD: Tensor
    targets_M: Tensor
    rows_M: Tensor
    cells_BT: Tensor


def teacher_positions(output: StudentOutput, rows_E: Tensor, positions: Positions) -> TeacherPositions:
    """Positions whose event has a row in the teacher's table; "last": only the newest asked position of each row."""
    asked_BT = output.events_BT >= 0
    if positions == "last":
        length = asked_BT.shape[1]
        place_T = torch.arange(1, length + 1, device=asked_BT.device)
        newest_B1 = (asked_BT * place_T).amax(1, keepdim=True)
        asked_BT = asked_BT & (place_T == newest_B1)
    rows_BT = torch.where(asked_BT, rows_E[output.events_BT.clamp(min=0)], -1)
    cells_BT = rows_BT >= 0
    return TeacherPositions(output.states[-1][cells_BT], output.targets_BT[cells_BT], rows_BT[cells_BT], cells_BT)


def candidate_scores(states_MD: Tensor, table_ND: Tensor, candidates_MK: Tensor) -> Tensor:
    """(M, K): the student's scores of each position's own candidates."""
    return torch.einsum("md,mkd->mk", states_MD, table_ND[candidates_MK])


def listed_cross_entropy(
    states_MD: Tensor, table_ND: Tensor, candidates_MK: Tensor, weights_MK: Tensor, n_negatives: int
) -> Tensor:
    """Mean over M of −Σ_K weight · log share: the softmax of each list over the catalogue.

    The catalogue's other items are sampled uniformly: each of `n_negatives` shared draws stands for its share of them,
    and a draw that is a candidate is left out. At 0 the whole catalogue is scored. No gradient reaches the weights.
    """
    own = Own(candidates_MK, weights_MK.masked_fill(candidates_MK == PAD, 0.0))
    if n_negatives == 0:
        return softmax_cross_entropy(states_MD, table_ND, own, Competitors())
    n_items = len(table_ND) - 1
    drawn_S = torch.randint(PAD + 1, n_items + 1, (n_negatives,), device=states_MD.device)
    bias_S = states_MD.new_full((n_negatives,), math.log(n_items / n_negatives))
    return softmax_cross_entropy(states_MD, table_ND, own, Competitors(drawn_S, bias_S))


def info_nce(said_MP: Tensor, target_MP: Tensor, temperature: float) -> Tensor:
    """Each row is to be told from the other rows' targets; 0 with a single row, which has nothing to be told from."""
    logits_MM = functional.normalize(said_MP, dim=-1) @ functional.normalize(target_MP, dim=-1).T / temperature
    return functional.cross_entropy(logits_MM, torch.arange(len(logits_MM), device=logits_MM.device))
