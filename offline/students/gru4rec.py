"""GRU4Rec, https://arxiv.org/abs/1511.06939, with softmax over items in place of the ranking losses.

A GRU would carry its biases through left padding, so each layer moves the items to the front and back again.
"""

# Shapes: B batch, T sequence, D embedding_dim, H hidden_dim

import torch
from torch import Tensor, nn

from retort.offline.students._base import Student
from retort.offline.students._blocks import PooledDropout
from retort.offline.students.configs.gru4rec import Config
from retort.shared.base.schema import PAD


class Model(Student):
    """Stacked GRU layers; the output of each layer, projected to the width of the items, is one state."""

    config: Config

    def __init__(self, config: Config, n_items: int) -> None:
        super().__init__(config, n_items)
        dim, hidden = config.embedding_dim, config.hidden_dim or config.embedding_dim
        self.dropout = PooledDropout(config.dropout)
        self.layers = nn.ModuleList(RealFirstGRU(dim, hidden) for _ in range(config.n_blocks))
        self.project = nn.ModuleList(nn.Linear(hidden, dim) for _ in range(config.n_blocks))
        self.norm = nn.LayerNorm(dim)
        self.initialise_items()

    @property
    def n_blocks(self) -> int:
        return self.config.n_blocks

    def hidden_states(self, items_BT: Tensor) -> list[Tensor]:
        n_pad_B1 = (items_BT == PAD).sum(1, keepdim=True)
        x_BTD = self.dropout(self.embed(items_BT) * self.config.embedding_dim**0.5)
        states: list[Tensor] = []
        for layer, project in zip(self.layers, self.project, strict=True):
            x_BTD = x_BTD + self.dropout(project(layer(x_BTD, n_pad_B1)))
            states.append(x_BTD)
        states[-1] = self.norm(states[-1])
        return states


class RealFirstGRU(nn.Module):
    """A GRU for left-padded sequences: inside, the items come first, so that padding cannot affect them."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.gru = nn.GRU(dim, hidden, batch_first=True)

    def forward(self, x_BTD: Tensor, n_pad_B1: Tensor) -> Tensor:
        last = x_BTD.shape[1] - 1
        times_T = torch.arange(x_BTD.shape[1], device=x_BTD.device)
        x_BTD = _taken(x_BTD, (times_T + n_pad_B1).clamp(max=last))
        out_BTH = _gru_node(self.gru, x_BTD) if torch.compiler.is_exporting() else self.gru(x_BTD)[0]
        return _taken(out_BTH, (times_T - n_pad_B1).clamp(min=0))


def _gru_node(gru: nn.GRU, x_BTD: Tensor) -> Tensor:
    """The layer as one ONNX node; torch's exporter may unroll it to the length of its example."""
    of_input, of_state, bias_input, bias_state = (
        _onnx_gates(gru.get_parameter(f"{name}_l0")) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    weights = (of_input.unsqueeze(0), of_state.unsqueeze(0), torch.cat([bias_input, bias_state]).unsqueeze(0))
    batch, length, _ = x_BTD.shape
    out_T1BH = torch.onnx.ops.symbolic(
        "GRU",
        (x_BTD.transpose(0, 1), *weights),
        attrs={"hidden_size": gru.hidden_size, "linear_before_reset": 1},
        dtype=x_BTD.dtype,
        shape=(length, 1, batch, gru.hidden_size),
        version=18,
    )
    return out_T1BH[:, 0].transpose(0, 1)


def _onnx_gates(stacked: Tensor) -> Tensor:
    """torch stacks reset, update, new; ONNX update, reset, new."""
    reset, update, new = stacked.chunk(3)
    return torch.cat([update, reset, new])


def _taken(x_BTD: Tensor, columns_BT: Tensor) -> Tensor:
    return x_BTD.gather(1, columns_BT.unsqueeze(-1).expand(-1, -1, x_BTD.shape[-1]))
