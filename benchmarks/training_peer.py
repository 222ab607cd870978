"""A peer's half of `benchmarks.training`, run by the interpreter that has the peer; it knows nothing of Retort.

    PEER_PYTHON training_peer.py PEER FILE    PEER: rectools-flat, replay, recbole; settings as JSON on standard input

FILE (.npz): histories (values, offsets), and histories and targets of test and validation. The peer's network and loss
are trained in a plain loop with AdamW, over left-padded sequences of the full length, as the peers' own loaders make
them: for a fixed time, or with `every_s` until validation stops improving. Prints JSON: milliseconds a step, steps of
an epoch, parameters, the curve of validation, and NDCG@10 of the test, with the best weights if there is a curve.
"""

import copy
import json
import math
import sys
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from training_curve import Curve


def padded(values: np.ndarray, starts: np.ndarray, ends: np.ndarray, length: int) -> Tensor:
    """The last `length` items of each slice, left-padded with 0."""
    places = ends[:, None] - np.arange(length, 0, -1)
    real = places >= np.maximum(starts, ends - length)[:, None]
    return torch.from_numpy(np.where(real, values[np.maximum(places, 0)], 0))


class Flat(nn.Module):
    """RecTools' FlatSASRecNet with the losses of its Lightning wrapper."""

    def __init__(self, n_items: int, size: dict[str, Any], negatives: int | None) -> None:
        from rectools.fast_transformers import FlatSASRecNet

        super().__init__()
        self.net = FlatSASRecNet(
            n_items, size["embedding_dim"], size["n_blocks"], size["n_heads"], size["max_length"], size["dropout"]
        )
        self.negatives = negatives

    def loss(self, x_BT: Tensor, y_BT: Tensor) -> Tensor:
        if self.negatives is None:
            logits = self.net({"x": x_BT, "y": y_BT})
            return cross_entropy(logits.flatten(0, 1), y_BT.flatten() - 1, ignore_index=-1)
        drawn = torch.randint(1, self.net.n_items + 1, (*y_BT.shape, self.negatives))
        logits = self.net({"x": x_BT, "y": y_BT, "negatives": drawn})
        return cross_entropy(logits.flatten(0, 1), torch.where(y_BT == 0, -100, 0).flatten())

    def scores(self, x_BT: Tensor) -> Tensor:
        return self.net.encode_last(x_BT) @ self.net.item_emb.weight.T


class RePlay(nn.Module):
    """RePlay's SasRec with CE or CESampled."""

    def __init__(self, n_items: int, size: dict[str, Any], negatives: int | None) -> None:
        from replay.data import FeatureHint, FeatureSource, FeatureType
        from replay.data.nn import TensorFeatureInfo, TensorFeatureSource, TensorSchema
        from replay.nn.loss import BCESampled, CESampled
        from replay.nn.sequential.sasrec import SasRec

        super().__init__()
        feature = TensorFeatureInfo(
            name="item_id",
            is_seq=True,
            cardinality=n_items,
            padding_value=n_items,
            embedding_dim=size["embedding_dim"],
            feature_type=FeatureType.CATEGORICAL,
            feature_sources=[TensorFeatureSource(FeatureSource.INTERACTIONS, "item_id")],
            feature_hint=FeatureHint.ITEM_ID,
        )
        self.net = SasRec.from_params(
            TensorSchema(feature),
            size["embedding_dim"],
            size["n_heads"],
            size["n_blocks"],
            size["max_length"],
            size["dropout"],
            hidden_dim=size["expansion"] * size["embedding_dim"],
        )
        if negatives is not None:
            self.net.loss = BCESampled() if negatives == 1 else CESampled(ignore_index=n_items)
            self.net.loss.logits_callback = self.net.get_logits
        self.n_items, self.negatives = n_items, negatives

    def _ids(self, x_BT: Tensor) -> Tensor:
        return torch.where(x_BT == 0, self.n_items, x_BT - 1)

    def loss(self, x_BT: Tensor, y_BT: Tensor) -> Tensor:
        # one negative is drawn for each target, several are shared by a batch
        shape = (*y_BT.shape, 1) if self.negatives == 1 else (self.negatives,)
        drawn = None if self.negatives is None else torch.randint(0, self.n_items, shape)
        real_BT = y_BT != 0
        found = self.net(
            {"item_id": self._ids(x_BT)}, x_BT != 0, None, self._ids(y_BT)[..., None], drawn, real_BT[..., None]
        )
        return found["loss"]

    def scores(self, x_BT: Tensor) -> Tensor:
        logits = self.net({"item_id": self._ids(x_BT)}, x_BT != 0)["logits"][:, : self.n_items]
        return torch.cat([logits.new_full((len(logits), 1), -torch.inf), logits], 1)


class RecBole(nn.Module):
    """RecBole's SASRec; it learns one target of each sequence, so every prefix of a history is a row."""

    every_prefix = True

    def __init__(self, n_items: int, size: dict[str, Any], negatives: int | None) -> None:
        from recbole.model.sequential_recommender import SASRec

        super().__init__()
        config = {
            "USER_ID_FIELD": "user", "ITEM_ID_FIELD": "item", "LIST_SUFFIX": "_list",
            "ITEM_LIST_LENGTH_FIELD": "length",
            "NEG_PREFIX": "neg_", "MAX_ITEM_LIST_LENGTH": size["max_length"], "device": torch.device("cpu"),
            "n_layers": size["n_blocks"], "n_heads": size["n_heads"], "hidden_size": size["embedding_dim"],
            "inner_size": size["expansion"] * size["embedding_dim"], "hidden_dropout_prob": size["dropout"],
            "attn_dropout_prob": size["dropout"], "hidden_act": "gelu", "layer_norm_eps": 1e-12,
            "initializer_range": 0.02, "loss_type": "CE" if negatives is None else "BPR",
        }  # fmt: skip
        self.net = SASRec(config, SimpleNamespace(num=lambda _: n_items + 1))
        self.n_items = n_items

    def _batch(self, x_BT: Tensor) -> dict[str, Tensor]:
        # RecBole pads at the end
        length_B = (x_BT != 0).sum(1)
        places = torch.arange(x_BT.shape[1]) + x_BT.shape[1] - length_B[:, None]
        right = torch.where(places < x_BT.shape[1], x_BT.gather(1, places.clamp(max=x_BT.shape[1] - 1)), 0)
        return {"item_list": right, "length": length_B.clamp(min=1)}

    def loss(self, x_BT: Tensor, y_BT: Tensor) -> Tensor:
        drawn = torch.randint(1, self.n_items + 1, (len(x_BT),))
        return self.net.calculate_loss({**self._batch(x_BT), "item": y_BT[:, -1], "neg_item": drawn})

    def scores(self, x_BT: Tensor) -> Tensor:
        batch = self._batch(x_BT)
        return self.net.forward(batch["item_list"], batch["length"]) @ self.net.item_embedding.weight.T


PEERS = {"rectools-flat": Flat, "replay": RePlay, "recbole": RecBole}


@torch.no_grad()
def ndcg(model: Any, data: Any, length: int, cases: str = "test") -> float:
    """NDCG@10 of the test or the validation, seen items hidden, full ranking."""
    model.eval()
    total = 0.0
    values, targets_U = data[f"{cases}_values"], data[f"{cases}_targets"]
    starts, ends = data[f"{cases}_offsets"][:-1], data[f"{cases}_offsets"][1:]
    for first in range(0, len(starts), 256):
        part = slice(first, first + 256)
        scores = model.scores(padded(values, starts[part], ends[part], length))
        targets = torch.from_numpy(targets_U[part])
        for row, (start, end) in enumerate(zip(starts[part], ends[part], strict=True)):
            scores[row, torch.from_numpy(values[start:end])] = -torch.inf
        scores[:, 0] = -torch.inf
        target_scores = scores.gather(1, targets[:, None])
        ranks = (scores >= target_scores).sum(1)
        hits = ranks[(ranks <= 10) & (targets > 0) & ~target_scores[:, 0].isinf()]
        total += float((1 / torch.log2(hits + 1.0)).sum())
    return total / len(starts)


def rows_of(model: Any, data: Any) -> tuple[np.ndarray, np.ndarray]:
    """Slices of the histories that are rows of an epoch, their targets included."""
    starts, ends = data["offsets"][:-1], data["offsets"][1:]
    long = ends - starts >= 2
    starts, ends = starts[long], ends[long]
    if not getattr(model, "every_prefix", False):
        return starts, ends
    counts = ends - starts - 1
    nth = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(starts, counts), np.repeat(starts, counts) + 2 + nth


def print_result(
    model: Any, network: nn.Module, data: Any, length: int, curve: Curve, step_ms: float, steps: int
) -> None:
    """Print what `benchmarks.training` reads; the test is scored here, by `model`, which reads the network."""
    parameters = sum(parameter.numel() for parameter in network.parameters())
    found = {"step_ms": step_ms, "steps": steps, "curve": curve.points, "parameters": parameters}
    print(json.dumps({**found, "ndcg": ndcg(model, data, length)}))


def main() -> None:
    settings = json.load(sys.stdin)
    torch.set_num_threads(settings["threads"])
    torch.backends.mha.set_fastpath_enabled(False)  # it makes NaN of FlatSASRecNet's padded positions
    torch.manual_seed(0)
    data = dict(np.load(sys.argv[2]))
    length, batch_size = settings["size"]["max_length"], settings["batch_size"]
    model: Any = PEERS[sys.argv[1]](int(data["n_items"]), settings["size"], settings["negatives"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings["learning_rate"])
    starts, ends = rows_of(model, data)
    random = np.random.default_rng(0)
    curve = Curve(settings["every_s"] or math.inf, settings["patience"], settings["seconds"])
    n_steps, seconds, best = 0, 0.0, None
    while not curve.has_ended(seconds):
        order = random.permutation(len(starts))
        for first in range(0, len(order), batch_size):
            began = time.perf_counter()
            rows = order[first : first + batch_size]
            x_BT = padded(data["values"], starts[rows], ends[rows] - 1, length)
            y_BT = padded(data["values"], starts[rows] + 1, ends[rows], length)
            model.train()
            optimizer.zero_grad()
            model.loss(x_BT, y_BT).backward()
            optimizer.step()
            seconds, n_steps = seconds + time.perf_counter() - began, n_steps + 1
            due = settings["every_s"] and curve.is_due(seconds)
            if due and curve.add(seconds, ndcg(model, data, length, "validation")):
                best = copy.deepcopy(model.state_dict())
            if curve.has_ended(seconds):
                break
    if best is not None:
        model.load_state_dict(best)
    print_result(model, model, data, length, curve, 1000 * seconds / n_steps, math.ceil(len(starts) / batch_size))


if __name__ == "__main__":
    main()
