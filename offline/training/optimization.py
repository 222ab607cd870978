"""Optimisation of a student and its objectives: AdamW, learning-rate schedule, gradient clipping."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from retort.offline.losses.divergence import check_optimizer
from retort.offline.training.config import LearningRate, TrainingConfig
from retort.offline.training.processes import Processes
from retort.shared.base.errors import TrainingError

_ONE_PROCESS = Processes()


def learning_rate_factor(step: int, total: int, warmup: int, kind: LearningRate) -> float:
    """Return the share of the peak rate at a step (from 0): linear warm-up, then constant or cosine decay to 1 %."""
    if step < warmup:
        return (step + 1) / warmup
    if kind == "constant":
        return 1.0
    done = (step - warmup) / max(1, total - warmup)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


class Optimization:
    """AdamW over several modules, each of which is clipped separately.

    Args:
        modules: The student, then its objectives. The projection of an objective must not shorten the student's step.
        config: The recipe's `[training]`.
        total_steps: Steps of the whole schedule.
        processes: Those whose gradients are added.
    """

    def __init__(
        self,
        modules: Sequence[nn.Module],
        config: TrainingConfig,
        total_steps: int,
        processes: Processes = _ONE_PROCESS,
    ) -> None:
        self.processes = processes
        self.modules = modules
        self.config = config
        self.total_steps = total_steps
        self.optimizer = torch.optim.AdamW(
            [{"params": list(module.parameters())} for module in modules],
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self._n_infinite: Tensor | float = 0.0  # steps whose gradient has no finite norm: clipping makes it zero

    def step(self, loss: Tensor, number: int) -> None:
        """Take step `number` (from 0) of the schedule along the gradient of a loss."""
        factor = learning_rate_factor(number, self.total_steps, self.config.warmup_steps, self.config.rate)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * factor
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.processes.add_gradients(self.modules)
        for module in self.modules:
            norm = _clip_gradients(list(module.parameters()), self.config.clip_norm)
            self._n_infinite = self._n_infinite + (~norm.isfinite()).float()
        self.optimizer.step()

    def check_finite(self) -> None:
        """Raise TrainingError if a gradient or an average of the optimiser was not finite: such steps teach nothing."""
        if n_steps := int(self._n_infinite):
            raise TrainingError(f"the gradient of {n_steps} steps is NaN or infinite")
        check_optimizer(self.optimizer)


def _clip_gradients(parameters: Sequence[nn.Parameter], largest_norm: float) -> Tensor:
    """As `clip_grad_norm_`; on a CPU gradients that are short enough are not written again. Returns the norm."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    # on a GPU, reading the norm would wait for it
    if norm.device.type != "cpu" or not norm <= largest_norm:
        nn.utils.clip_grads_with_norm_(parameters, largest_norm, norm)
    return norm
