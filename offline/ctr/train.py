"""Training loop of the CTR models: binary cross-entropy; validation AUC selects the epoch; the test is scored once."""

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
from retort.offline.losses.divergence import check_epoch, diverged
from retort.shared.base.errors import TeacherError

MODELS = "retort.offline.ctr"
_ROWS_PER_BATCH = 8192


@dataclass(frozen=True)
class Outcome:
    """Result of one training. n_parameters counts the model that predicts, not the projection of an LLM-KT arm."""

    model: ModelName
    arm: Arm
    seed: int
    best_epoch: int
    validation_auc: float
    auc: float
    log_loss: float
    n_parameters: int


def train(name: ModelName, arm: Arm, seed: int, data: CtrData, config: CtrConfig) -> Outcome:
    """Train one arm and score it on the test. Shuffled arms are shuffled once for each seed."""
    data = data.shuffled(seed) if arm.endswith("_shuffled") else data
    torch.manual_seed(seed)
    experts = None
    if arm.startswith("kar"):
        experts = HybridExperts(data, config.embedding_dim, config.n_shared, config.n_own)
    model: nn.Module = load_plugin(MODELS, name).Model(config, Fields(data, config.embedding_dim, experts))
    objective = None
    if arm.startswith("taught"):
        objective = ProfileReconstruction(data, config, faithful=arm == "taught_faithful")
    modules = [model] if objective is None else [model, objective]
    optimizer = torch.optim.AdamW(
        [parameter for module in modules for parameter in module.parameters()],
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
    )
    best_auc, best_epoch, best = -1.0, 0, model.state_dict()
    for epoch in range(1, config.epochs + 1):
        active = objective if epoch <= config.epochs // 2 else None
        losses = _train_epoch(model, active, optimizer, data.train, config, seed=seed * 1_000_003 + epoch)
        check_epoch(epoch, losses, model.parameters(), "[ctr] learning_rate", optimizer)
        auc = _validation_auc(model, data.validation, epoch)
        if auc > best_auc:
            best_auc, best_epoch = auc, epoch
            best = {key: value.clone() for key, value in model.state_dict().items()}
        elif active is None and epoch - best_epoch >= config.patience:
            break
    model.load_state_dict(best)
    probabilities_R = predict(model, data.test)
    return Outcome(
        name,
        arm,
        seed,
        best_epoch,
        best_auc,
        float(roc_auc_score(data.test.labels, probabilities_R)),
        float(log_loss(data.test.labels, probabilities_R.astype(np.float64))),
        sum(parameter.numel() for parameter in model.parameters()),
    )


def _validation_auc(model: nn.Module, rows: Rows, epoch: int) -> float:
    """The AUC of an epoch; finite weights may still give products that are not."""
    probabilities_R = predict(model, rows)
    if not np.isfinite(probabilities_R).all():
        raise diverged(epoch, "the predictions hold NaN", "lower [ctr] learning_rate")
    return float(roc_auc_score(rows.labels, probabilities_R))


class ProfileReconstruction(nn.Module):
    """Objective of LLM-KT: the last deep layer reconstructs the user's profile vector.

    Args:
        data: With the targets.
        config: With the weight α.
        faithful: As published: the first columns of the layer are compared with the reducer's vector. Otherwise a
            learned projection, which is not kept, maps the layer to the vector, scaled to variance 1 in each component.

    Raises:
        TeacherError: faithful, and the layer is narrower than the targets.
    """

    def __init__(self, data: CtrData, config: CtrConfig, *, faithful: bool = False) -> None:
        super().__init__()
        targets, width, layer_width = data.targets.vectors, data.targets.vectors.shape[1], config.layers[-1]
        if faithful and width > layer_width:
            raise TeacherError(
                f"arm 'taught_faithful': the user vectors are {width} wide, the last layer only {layer_width}; reduce "
                f"them to at most {layer_width} ([reducer] n_components), or widen [ctr] layers."
            )
        if not faithful:
            known = targets[data.targets.present]
            targets = (targets - known.mean(axis=0)) / (known.std(axis=0) + 1e-6)
        self.targets_UP, self.known_U = torch.from_numpy(targets), torch.from_numpy(data.targets.present)
        self.weight = config.teaching_weight
        self.project = None if faithful else nn.Linear(layer_width, width)

    def forward(self, loss: Tensor, hidden_BH: Tensor, users_B: Tensor) -> Tensor:
        """Compute (1 − α)·loss + α·RMSE over the users with a profile; the loss itself where no user has one."""
        known_B = self.known_U[users_B]
        if not known_B.any():
            return loss
        layer_BH, targets_BP = hidden_BH[known_B], self.targets_UP[users_B[known_B]]
        predicted_BP = layer_BH[:, : targets_BP.shape[1]] if self.project is None else self.project(layer_BH)
        distance = functional.mse_loss(predicted_BP, targets_BP).clamp(min=1e-12).sqrt()
        return (1 - self.weight) * loss + self.weight * distance


def _train_epoch(
    model: nn.Module,
    objective: ProfileReconstruction | None,
    optimizer: torch.optim.Optimizer,
    rows: Rows,
    config: CtrConfig,
    seed: int,
) -> list[float]:
    """Train for one epoch; the loss of each step."""
    model.train()
    losses: list[Tensor] = []
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    users_R, items_R, labels_R = (torch.from_numpy(values) for values in (rows.users, rows.items, rows.labels))
    for batch in order.split(config.batch_size):
        logits_B, hidden_BH = model(users_R[batch], items_R[batch])
        loss = functional.binary_cross_entropy_with_logits(logits_B, labels_R[batch])
        if objective is not None:
            loss = objective(loss, hidden_BH, users_R[batch])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return [float(loss) for loss in torch.stack(losses)] if losses else []


@torch.no_grad()
def predict(model: nn.Module, rows: Rows) -> FloatArray:
    """Predict the probability (R,) of label 1."""
    model.eval()
    users_R, items_R = torch.from_numpy(rows.users), torch.from_numpy(rows.items)
    pairs = zip(users_R.split(_ROWS_PER_BATCH), items_R.split(_ROWS_PER_BATCH), strict=True)
    probabilities: FloatArray = torch.cat([model(users_B, items_B)[0].sigmoid() for users_B, items_B in pairs]).numpy()
    return probabilities
