"""What passes one of a student's modules while it works, heard by a hook, so that no student knows of it."""

from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from retort.offline.distillation.configs._base import Side


def capture_activation(module: nn.Module, side: Side, captured: list[Tensor]) -> RemovableHandle:
    """Keep the newest tensor that went in or came out; `heard` never holds more than one."""

    def hook(module: nn.Module, inputs: Any, outputs: Any) -> None:
        found = inputs if side == "input" else outputs
        if module.training:  # an evaluation in between is not what this step's loss is about
            captured[:] = [found[0] if isinstance(found, tuple) else found]

    return module.register_forward_hook(hook)
