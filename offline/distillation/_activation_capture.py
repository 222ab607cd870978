"""Capture of the input or output of a student's module by a forward hook."""

from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from retort.offline.distillation.configs._base import Side


def capture_activation(module: nn.Module, side: Side, captured: list[Tensor]) -> RemovableHandle:
    """Register a hook that keeps the newest input or output of a module in training mode.

    Args:
        module: Module of a student.
        side: "input" or "output".
        captured: Receives the tensor; it never holds more than one.
    """

    def hook(module: nn.Module, inputs: Any, outputs: Any) -> None:
        found = inputs if side == "input" else outputs
        if module.training:  # activations of an evaluation do not belong to the training step
            captured[:] = [found[0] if isinstance(found, tuple) else found]

    return module.register_forward_hook(hook)
