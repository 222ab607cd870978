"""Detection of diverged trainings: losses, weights or scores that are NaN or infinite.

All training loops call it after each epoch, because a comparison with NaN is false: without it, a diverged model has
metrics, and is exported and served.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from retort.shared.base.errors import TrainingError


def check_losses(losses: Mapping[str, float]) -> None:
    """Raise TrainingError if a loss, by name, is NaN or infinite."""
    for name, value in losses.items():
        if not math.isfinite(value):
            raise TrainingError(f"{name} is {value}")


def check_tensors(name: str, tensors: Iterable[Tensor]) -> None:
    """Raise TrainingError if a floating-point tensor holds NaN or infinity. It waits for the device once."""
    finite = [torch.isfinite(tensor.detach()).all() for tensor in tensors if tensor.is_floating_point()]
    if finite and not bool(torch.stack(finite).all()):
        raise TrainingError(f"{name} hold NaN or infinity")


def check_modules(modules: Mapping[str, nn.Module]) -> None:
    """Raise TrainingError if the weights of a module, by name, hold NaN or infinity."""
    for name, module in modules.items():
        check_tensors(f"the weights of {name}", (*module.parameters(), *module.buffers()))


def check_optimizer(optimizer: torch.optim.Optimizer) -> None:
    """Raise TrainingError if an average of AdamW overflowed: its weight is divided by infinity and stays as it is."""
    states = (value for state in optimizer.state.values() for value in state.values() if torch.is_tensor(value))
    check_tensors("the averages of the optimiser", states)


def diverged(epoch: int, cause: object, remedy: str) -> TrainingError:
    """Return the error of a training that diverged in an epoch (from 1)."""
    return TrainingError(f"the training diverged in epoch {epoch}: {cause}; {remedy}.")


def check_epoch(
    epoch: int,
    losses: Sequence[float],
    parameters: Iterable[Tensor],
    setting: str,
    optimizer: torch.optim.Optimizer | None = None,
) -> None:
    """Raise TrainingError if an epoch (from 1) left a loss, a weight or an average that is NaN or infinite.

    Args:
        epoch: Number of the epoch.
        losses: Losses of its steps.
        parameters: Weights that were trained.
        setting: The learning rate's section and key, for the error.
        optimizer: The optimiser, whose averages are checked too.
    """
    try:
        check_losses({f"the loss of step {step}": loss for step, loss in enumerate(losses, 1)})
        check_tensors("the weights", parameters)
        if optimizer is not None:
            check_optimizer(optimizer)
    except TrainingError as error:
        raise diverged(epoch, error, f"lower {setting}") from None
