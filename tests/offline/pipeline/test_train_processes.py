"""Training by two processes follows the loss curve of one, and resumes the checkpoint of one."""

from pathlib import Path

import orjson
import pytest

from retort.offline.common.progress import Silent
from retort.offline.pipeline.build import load_pipeline
from retort.offline.pipeline.context import TRAINING_FILE

_RECIPE = """
[data]
source = "synthetic"
options = { users = 150, items = 60, mean_length = 8 }

[student]
name = "sasrec"
embedding_dim = 16
max_length = 10
dropout = 0.0

[training]
epochs = 4
batch_size = 13
loss = "sampled_softmax"
negatives = 16
bf16 = false
"""


class InterruptedTrainingError(Exception):
    """The training was interrupted."""


class StopsAfter(Silent):
    """Progress that interrupts the training after an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def say(self, line: str) -> None:
        if line.startswith(f"epoch {self.epoch} "):
            raise InterruptedTrainingError


def train(out: Path, progress: Silent) -> list[dict[str, float]]:
    recipe = out.parent / "small.toml"
    recipe.write_text(_RECIPE)
    pipeline = load_pipeline(str(recipe), None, out, ["protocol=held"], progress)
    log = orjson.loads((pipeline.ensure_path("train") / TRAINING_FILE).read_bytes())["log"]
    return [{"loss": entry["loss"], "ndcg": entry["ndcg"]} for entry in log]


@pytest.mark.long
def test_two_processes_follow_the_curve_of_one_and_resume_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETORT_HOME", str(tmp_path / "home"))
    alone = train(tmp_path / "alone", Silent())
    with pytest.raises(InterruptedTrainingError):
        train(tmp_path / "resumed", StopsAfter(2))
    monkeypatch.setenv("RETORT_TRAIN_PROCESSES", "2")
    for out in ("together", "resumed"):
        found = train(tmp_path / out, Silent())
        assert len(found) == len(alone) == 4
        for one, other in zip(found, alone, strict=True):
            assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)
            assert one["ndcg"] == pytest.approx(other["ndcg"], abs=1e-6)
