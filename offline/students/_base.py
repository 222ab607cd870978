"""What every student is: hidden states over a sequence of items, scored against its item table.

Shapes: B batch, T sequence, D embedding_dim, N n_items + 1 (row 0 is PAD), M positions with a target.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from offline.config import Section
from shared.schema import PAD


class StudentConfig(Section):
    """Knobs that all students have; each adds its own."""

    embedding_dim: int = 64
    max_length: int = 50


@dataclass(frozen=True)
class Examples:
    """What a student reads and what it should say: targets (B, T) are PAD where nothing is asked."""

    items_BT: Tensor
    targets_BT: Tensor


class Student(nn.Module):
    """A sequence model over items. A subclass states `hidden_states`; scoring and export are inherited."""

    def __init__(self, config: StudentConfig, n_items: int) -> None:
        super().__init__()
        self.config = config
        self.n_items = n_items
        self.items = nn.Embedding(n_items + 1, config.embedding_dim, padding_idx=PAD)

    @property
    def n_blocks(self) -> int:
        """How many states `hidden_states` returns."""
        raise NotImplementedError

    def hidden_states(self, items_BT: Tensor) -> list[Tensor]:
        """(B, T) left-padded item indexes → one (B, T, D) a block; the last one is what scores.

        Padding says nothing: real positions do not depend on how much of it there is.
        """
        raise NotImplementedError

    def last_state(self, items_BT: Tensor) -> Tensor:
        """(B, D): the state after the newest item. A student that can get it with less work overrides this."""
        return self.hidden_states(items_BT)[-1][:, -1]

    def item_table(self) -> Tensor:
        """(N, D): the vectors that states are scored against."""
        return self.items.weight

    def examples(self, sequences_BT: Tensor) -> Examples:
        """Left-padded sequences → inputs and targets. Here: every item is to be told from those before it."""
        return Examples(sequences_BT[:, :-1], sequences_BT[:, 1:])


def real_positions(items_BT: Tensor) -> Tensor:
    """(B, T) bool: where there is an item."""
    return items_BT != PAD
