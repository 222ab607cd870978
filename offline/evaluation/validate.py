"""Validation ranks during training, computed by the torch student.

The test is scored once, on the exported graph (`evaluate.py`).
"""

# Shapes: B cases of a batch, N n_items + 1

import numpy as np
import torch
from numpy.typing import NDArray

from retort.offline.data.split import Cases
from retort.offline.evaluation.evaluate import EvaluationConfig
from retort.offline.losses.divergence import check_tensors
from retort.offline.students._base import Student
from retort.shared.base.schema import PAD
from retort.shared.model.sequences import left_pad, right_fill

_CASES_PER_BATCH = 512
DEFAULT_EVALUATION = EvaluationConfig()


@torch.inference_mode()
def validation_ranks(
    student: Student, cases: Cases, evaluation: EvaluationConfig = DEFAULT_EVALUATION
) -> NDArray[np.int64]:
    """Rank each target among all items, without seen items where they are hidden. A tie counts against the target.

    Args:
        student: Set to evaluation mode.
        cases: The validation cases.
        evaluation: The settings of the test, so that both hide the same items and read the same histories.

    Returns:
        Ranks (U,) from 1; 0 for a target without train events.

    Raises:
        TrainingError: A score is NaN or infinite.
    """
    student.eval()
    device = student.items.weight.device
    order = np.argsort(cases.histories.lengths, kind="stable")
    ranks = np.zeros(len(cases), dtype=np.int64)
    for first in range(0, len(order), _CASES_PER_BATCH):
        rows = order[first : first + _CASES_PER_BATCH]
        histories = [cases.histories[int(row)] for row in rows]
        items_BT = torch.from_numpy(left_pad(evaluation.truncate_histories(histories), student.config.max_length)).to(
            device
        )
        scores_BN = student.scores(student.last_state(items_BT), student.item_table())
        check_tensors("the scores", [scores_BN[:, PAD + 1 :]])
        if evaluation.hide_seen:
            scores_BN.scatter_(1, torch.from_numpy(right_fill(histories)).to(device), -torch.inf)
        scores_BN[:, PAD] = -torch.inf
        targets_B = torch.from_numpy(cases.targets[rows]).to(device)
        target_score_B1 = scores_BN.gather(1, targets_B[:, None])
        ranks_B = (scores_BN >= target_score_B1).sum(1)
        ranks[rows] = torch.where((targets_B == PAD) | target_score_B1[:, 0].isinf(), 0, ranks_B).cpu().numpy()
    return ranks
