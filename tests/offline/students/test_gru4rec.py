"""The recurrence in the exported graph is torch's."""

from pathlib import Path

import numpy as np
import torch

from retort.offline.common.progress import Silent
from retort.offline.export.onnx import export_student
from retort.offline.students import gru4rec
from retort.offline.training.config import TrainingConfig
from retort.offline.training.loop import fit
from retort.shared.model.scoring import Scorer
from tests.offline._worlds import ring

N_ITEMS, MAX_LENGTH = 12, 6


def test_a_trained_student_exports_as_a_new_one_does(tmp_path: Path) -> None:
    """The exporter once unrolled the recurrence to the length of its example, after the layer had run elsewhere."""
    torch.manual_seed(0)
    student = gru4rec.Model(gru4rec.Config(embedding_dim=16, max_length=MAX_LENGTH, n_blocks=2), N_ITEMS)
    fit(student, ring(N_ITEMS), [], TrainingConfig(epochs=1, batch_size=32), Silent(), tmp_path)
    scorer = Scorer(export_student(student), n_items=N_ITEMS, max_length=MAX_LENGTH)
    for length in (1, 2, 5):
        history = np.arange(1, length + 1)
        ranked = scorer.top_k([history], k=3)
        with torch.no_grad():
            scores_N = student.last_state(torch.from_numpy(history)[None])[0] @ student.item_table().T
        np.testing.assert_allclose(ranked.scores_BK[0], scores_N[ranked.items_BK[0]].numpy(), rtol=1e-4, atol=1e-5)
