"""The peer's half of `benchmarks.training`, run by the interpreter that has RecTools; it knows nothing of Retort.

    PEER_PYTHON rectools_peer.py FILE   (CSV: user_id, item_id, weight, datetime); settings as JSON on standard input

Prints JSON: seconds of each epoch, and milliseconds of `recommend` for one user.
"""

import json
import statistics
import sys
import time
from typing import Any, ClassVar

import pandas as pd
import pytorch_lightning
import torch
from rectools.dataset import Dataset
from rectools.models import SASRecModel


class Epochs(pytorch_lightning.Callback):
    """Notes how long each epoch takes, without what the trainer does before and after."""

    seconds: ClassVar[list[float]] = []  # of the class: the model trains with a copy of its trainer

    def on_train_epoch_start(self, *_: Any) -> None:
        self._started_s = time.perf_counter()

    def on_train_epoch_end(self, *_: Any) -> None:
        self.seconds.append(time.perf_counter() - self._started_s)


def main() -> None:
    settings = json.load(sys.stdin)
    torch.set_num_threads(settings.pop("threads"))
    asked = settings.pop("asked")
    dataset = Dataset.construct(pd.read_csv(sys.argv[1]))

    def trainer() -> pytorch_lightning.Trainer:
        return pytorch_lightning.Trainer(
            max_epochs=settings["epochs"],
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[Epochs()],
        )

    model = SASRecModel(**settings, get_trainer_func=trainer).fit(dataset)
    answers_ms = []
    for user in dataset.user_id_map.external_ids[:asked]:
        started_s = time.perf_counter()
        model.recommend(users=[user], dataset=dataset, k=10, filter_viewed=True)
        answers_ms.append((time.perf_counter() - started_s) * 1000)
    print(json.dumps({"seconds": Epochs.seconds, "answer_ms": statistics.median(answers_ms)}))


if __name__ == "__main__":
    main()
