"""Activations of a student's modules: capture by a forward hook, and pooling over a sequence.

Shapes: B batch, T sequence, D embedding_dim.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from retort.offline.distillation.configs._base import Pooling, Side


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


class Pool(nn.Module):
    """Pooling over real positions: mean, exponential (softmax of γ·t), attention (learnt), last or max."""

    def __init__(self, kind: Pooling, dim: int, gamma: float = 0.1) -> None:
        super().__init__()
        self.kind = kind
        self.gamma = gamma
        self.attention = nn.Linear(dim, 1) if kind == "attention" else None

    def forward(self, states_BTD: Tensor, real_BT: Tensor) -> Tensor:
        if self.kind == "last":
            return states_BTD[:, -1]
        if self.kind == "max":
            empty_B1 = ~real_BT.any(1, keepdim=True)
            top_BD = states_BTD.masked_fill(~real_BT.unsqueeze(-1), -torch.inf).amax(1)
            return top_BD.masked_fill(empty_B1, 0.0)
        weights_BT = self._logits(states_BTD).masked_fill(~real_BT, -torch.inf).softmax(-1)
        # all weights of a row without items are NaN
        return torch.einsum("bt,btd->bd", weights_BT.nan_to_num(0.0), states_BTD)

    def _logits(self, states_BTD: Tensor) -> Tensor:
        batch, length, _ = states_BTD.shape
        if self.attention is not None:
            return self.attention(states_BTD).squeeze(-1)
        times_T = torch.arange(length, dtype=states_BTD.dtype, device=states_BTD.device)
        slope = self.gamma if self.kind == "exponential" else 0.0
        return (slope * times_T).expand(batch, length)
