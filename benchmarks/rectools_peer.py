"""RecTools' half of `benchmarks.training` with its SASRecModel, run by the interpreter that has it.

    PEER_PYTHON rectools_peer.py rectools FILE   (data.npz, beside it data.csv); settings as JSON on standard input

Prints JSON: milliseconds a step, steps of an epoch, and NDCG@10 of the test after the given time of training.
"""

import json
import math
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytorch_lightning
import torch
from rectools.dataset import Dataset
from rectools.models import SASRecModel


class Steps(pytorch_lightning.Callback):
    """Counts steps, and ends the training after the given time."""

    count: ClassVar[int] = 0  # of the class: the model trains with a copy of its trainer
    seconds: ClassVar[float] = 0.0
    per_epoch: ClassVar[int] = 0
    limit_s: ClassVar[float] = 0.0

    def on_train_start(self, trainer: Any, *_: Any) -> None:
        Steps.started_s = time.perf_counter()
        Steps.per_epoch = int(trainer.num_training_batches)

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        Steps.count, Steps.seconds = Steps.count + 1, time.perf_counter() - Steps.started_s
        if Steps.seconds > self.limit_s:
            trainer.should_stop = True


def main() -> None:
    settings = json.load(sys.stdin)
    size, negatives = settings["size"], settings["negatives"]
    torch.set_num_threads(settings["threads"])
    Steps.limit_s = settings["seconds"]
    dataset = Dataset.construct(pd.read_csv(Path(sys.argv[2]).with_name("data.csv")))

    def trainer() -> pytorch_lightning.Trainer:
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        return pytorch_lightning.Trainer(
            max_epochs=1000, min_epochs=0, accelerator="cpu", enable_model_summary=False, callbacks=[Steps()], **quiet
        )

    model = SASRecModel(
        n_factors=size["embedding_dim"],
        n_blocks=size["n_blocks"],
        n_heads=size["n_heads"],
        session_max_len=size["max_length"],
        dropout_rate=size["dropout"],
        batch_size=settings["batch_size"],
        loss="softmax" if negatives is None else "sampled_softmax",
        n_negatives=negatives or 1,
        get_trainer_func=trainer,
    ).fit(dataset)
    step_ms = 1000 * Steps.seconds / Steps.count
    print(json.dumps({"step_ms": step_ms, "steps": Steps.per_epoch, "ndcg": ndcg(model, dataset)}))


def ndcg(model: SASRecModel, dataset: Dataset) -> float:
    """NDCG@10 of the test, seen items hidden, full ranking."""
    data = np.load(sys.argv[2])
    target_of = dict(zip(data["test_users"].tolist(), data["test_targets"].tolist(), strict=True))
    users = [user for user in target_of if user in set(dataset.user_id_map.external_ids)]
    answers = model.recommend(users=users, dataset=dataset, k=10, filter_viewed=True)
    hits = answers[answers["item_id"] == answers["user_id"].map(target_of)]
    return float(sum(1 / math.log2(rank + 1) for rank in hits["rank"]) / len(target_of))


if __name__ == "__main__":
    main()
