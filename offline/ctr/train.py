"""The only loop of the CTR models: binary cross-entropy, validation AUC chooses the epoch, the test is scored once."""

# Shapes: B batch, R rows, H width of the last layer, P width of the targets

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.metrics import log_loss, roc_auc_score
from torch import Tensor, nn
from torch.nn import functional

from retort.offline.common.plugins import load_plugin
from retort.offline.ctr._parts import Fields
from retort.offline.ctr.config import Arm, CtrConfig, ModelName
from retort.offline.ctr.data import CtrData, FloatArray, Rows
from retort.offline.ctr.kar import HybridExperts
from retort.offline.losses.divergence import check_epoch
from retort.shared.base.errors import TeacherError

MODELS = "retort.offline.ctr"
_ROWS_AT_ONCE = 8192


@dataclass(frozen=True)
class Outcome:
    """What one training came to. n_parameters: of what predicts; a taught model's projection is no part of it."""

    model: ModelName
    arm: Arm
    seed: int
    best_epoch: int
    validation_auc: float
    auc: float
    log_loss: float
    n_parameters: int


def fit(name: ModelName, arm: Arm, seed: int, data: CtrData, config: CtrConfig) -> Outcome:
    """Train one arm and score it. Shuffled arms shuffle once per seed."""
    data = data.shuffled(seed) if arm.endswith("_shuffled") else data
    torch.manual_seed(seed)
    experts = None
    if arm.startswith("kar"):
        experts = HybridExperts(data, config.embedding_dim, config.n_shared, config.n_own)
    model: nn.Module = load_plugin(MODELS, name).Model(config, Fields(data, config.embedding_dim, experts))
    lesson = Lesson(data, config, faithful=arm == "taught_faithful") if arm.startswith("taught") else None
    modules = [model] if lesson is None else [model, lesson]
    optimizer = torch.optim.AdamW(
        [one for module in modules for one in module.parameters()],
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
    )
    best_auc, best_epoch, best = -1.0, 0, model.state_dict()
    for epoch in range(1, config.epochs + 1):
        taught = lesson if epoch <= config.epochs // 2 else None
        losses = _one_epoch(model, taught, optimizer, data.train, config, seed=seed * 1_000_003 + epoch)
        check_epoch(epoch, losses, model.parameters(), "[ctr] learning_rate")
        auc = float(roc_auc_score(data.validation.labels, predictions(model, data.validation)))
        if auc > best_auc:
            best_auc, best_epoch = auc, epoch
            best = {key: value.clone() for key, value in model.state_dict().items()}
        elif taught is None and epoch - best_epoch >= config.patience:
            break
    model.load_state_dict(best)
    said_R = predictions(model, data.test)
    return Outcome(
        name,
        arm,
        seed,
        best_epoch,
        best_auc,
        float(roc_auc_score(data.test.labels, said_R)),
        float(log_loss(data.test.labels, said_R.astype(np.float64))),
        sum(one.numel() for one in model.parameters()),
    )


class Lesson(nn.Module):
    """LLM-KT's inner-layer reconstruction: the last layer tells the user's profile.

    faithful, as published: its first columns are held against the profile's vector as the reducer made it. Else a map,
    which is not kept, leads to the vector with all components alike in scale.
    """

    def __init__(self, data: CtrData, config: CtrConfig, *, faithful: bool = False) -> None:
        super().__init__()
        targets, width, heard = data.targets.vectors, data.targets.vectors.shape[1], config.layers[-1]
        if faithful and width > heard:
            raise TeacherError(
                f"arm 'taught_faithful': the user vectors are {width} wide, the last layer only {heard}; reduce them "
                f"to at most {heard} ([reducer] n_components), or widen [ctr] layers."
            )
        if not faithful:
            known = targets[data.targets.present]
            targets = (targets - known.mean(axis=0)) / (known.std(axis=0) + 1e-6)
        self.targets_UP, self.known_U = torch.from_numpy(targets), torch.from_numpy(data.targets.present)
        self.weight = config.teaching_weight
        self.project = None if faithful else nn.Linear(heard, width)

    def forward(self, own: Tensor, hidden_BH: Tensor, users_B: Tensor) -> Tensor:
        """(1 − α)·own + α·RMSE; users without a profile count in neither."""
        known_B = self.known_U[users_B]
        if not known_B.any():
            return own
        said_BH, targets_BP = hidden_BH[known_B], self.targets_UP[users_B[known_B]]
        said_BP = said_BH[:, : targets_BP.shape[1]] if self.project is None else self.project(said_BH)
        distance = functional.mse_loss(said_BP, targets_BP).clamp(min=1e-12).sqrt()
        return (1 - self.weight) * own + self.weight * distance


def _one_epoch(
    model: nn.Module, lesson: Lesson | None, optimizer: torch.optim.Optimizer, rows: Rows, config: CtrConfig, seed: int
) -> list[float]:
    """Train for one epoch; return the loss of each step."""
    model.train()
    losses: list[Tensor] = []
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    users_R, items_R, labels_R = (torch.from_numpy(one) for one in (rows.users, rows.items, rows.labels))
    for part in order.split(config.batch_size):
        logits_B, hidden_BH = model(users_R[part], items_R[part])
        loss = functional.binary_cross_entropy_with_logits(logits_B, labels_R[part])
        if lesson is not None:
            loss = lesson(loss, hidden_BH, users_R[part])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return [float(loss) for loss in torch.stack(losses)] if losses else []


@torch.no_grad()
def predictions(model: nn.Module, rows: Rows) -> FloatArray:
    """(R,): the probability of label 1."""
    model.eval()
    users_R, items_R = torch.from_numpy(rows.users), torch.from_numpy(rows.items)
    pairs = zip(users_R.split(_ROWS_AT_ONCE), items_R.split(_ROWS_AT_ONCE), strict=True)
    said: FloatArray = torch.cat([model(users_B, items_B)[0].sigmoid() for users_B, items_B in pairs]).numpy()
    return said
