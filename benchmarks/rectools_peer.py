"""RecTools' half of `benchmarks.training` with its SASRecModel, run by the interpreter that has it.

    PEER_PYTHON rectools_peer.py rectools FILE   (data.npz, beside it data.csv); settings as JSON on standard input

Trains for a fixed time, or with `every_s` until validation stops improving. Prints JSON: milliseconds a step, steps of
an epoch, parameters, the curve of validation, and NDCG@10 of the test, with the best weights if there is a curve.
"""

import copy
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
from torch import Tensor
from training_curve import Curve
from training_peer import ndcg, print_result


class Scores:
    """Scores of RecTools' network in the item indexes of the data; items without train events have none."""

    def __init__(self, net: Any, item_id_map: Any, n_items: int) -> None:
        self.net = net
        known = item_id_map.to_external.to_dict()  # internal → external, padding included
        self.internal = torch.zeros(n_items + 1, dtype=torch.long)
        for internal, external in known.items():
            if not isinstance(external, str):
                self.internal[int(external)] = internal

    def eval(self) -> None:
        self.net.eval()

    def scores(self, x_BT: Tensor) -> Tensor:
        vectors = self.net.item_model.get_all_embeddings()
        states_BD = self.net.encode_sessions({"x": self.internal[x_BT]}, vectors)[:, -1]
        scores_BN = (states_BD @ vectors.T)[:, self.internal]
        return scores_BN.masked_fill(self.internal == 0, -torch.inf)


class Steps(pytorch_lightning.Callback):
    """Counts steps, evaluates in between, and ends the training."""

    # of the class: the model trains with a copy of its trainer
    count: ClassVar[int] = 0
    started_s: ClassVar[float] = 0.0
    seconds: ClassVar[float] = 0.0
    per_epoch: ClassVar[int] = 0
    evaluating_s: ClassVar[float] = 0.0
    evaluates: ClassVar[bool] = False
    length: ClassVar[int] = 0
    data: ClassVar[Any] = None
    model: ClassVar[Any] = None
    curve: ClassVar[Curve]
    best: ClassVar[Any] = None

    def on_train_start(self, trainer: Any, *_: Any) -> None:
        Steps.started_s = time.perf_counter()
        Steps.per_epoch = int(trainer.num_training_batches)

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        ended_s = time.perf_counter()
        Steps.count, Steps.seconds = Steps.count + 1, ended_s - Steps.started_s - Steps.evaluating_s
        if Steps.evaluates and Steps.curve.is_due(Steps.seconds):
            net = module.torch_model
            found = ndcg(scores_of(net), Steps.data, Steps.length, "validation")
            if Steps.curve.add(Steps.seconds, found):
                Steps.best = copy.deepcopy(net.state_dict())
            net.train()
            Steps.evaluating_s += time.perf_counter() - ended_s
        if Steps.curve.has_ended(Steps.seconds):
            trainer.should_stop = True


def scores_of(net: Any) -> Scores:
    """The network with the ids of its model."""
    return Scores(net, Steps.model.data_preparator.item_id_map, int(Steps.data["n_items"]))


def main() -> None:
    settings = json.load(sys.stdin)
    size, negatives = settings["size"], settings["negatives"]
    torch.set_num_threads(settings["threads"])
    Steps.curve = Curve(settings["every_s"] or math.inf, settings["patience"], settings["seconds"])
    Steps.evaluates, Steps.length = bool(settings["every_s"]), size["max_length"]
    Steps.data = dict(np.load(sys.argv[2]))
    dataset = Dataset.construct(pd.read_csv(Path(sys.argv[2]).with_name("data.csv")))

    def trainer() -> pytorch_lightning.Trainer:
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        return pytorch_lightning.Trainer(
            max_epochs=100_000,
            min_epochs=0,
            accelerator="cpu",
            enable_model_summary=False,
            callbacks=[Steps()],
            **quiet,
        )

    Steps.model = SASRecModel(
        n_factors=size["embedding_dim"],
        n_blocks=size["n_blocks"],
        n_heads=size["n_heads"],
        session_max_len=size["max_length"],
        dropout_rate=size["dropout"],
        batch_size=settings["batch_size"],
        lr=settings["learning_rate"],
        loss={None: "softmax", 1: "BCE"}.get(negatives, "sampled_softmax"),
        n_negatives=negatives or 1,
        get_trainer_func=trainer,
    )
    Steps.model.fit(dataset)
    net = Steps.model.torch_model
    if Steps.best is not None:
        net.load_state_dict(Steps.best)
    step_ms = 1000 * Steps.seconds / Steps.count
    print_result(scores_of(net), net, Steps.data, Steps.length, Steps.curve, step_ms, Steps.per_epoch)


if __name__ == "__main__":
    main()
