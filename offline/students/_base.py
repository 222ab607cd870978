"""Base class of students: hidden states over an item sequence, scored against the item table.

Shapes: B batch, T sequence, D embedding_dim, N n_items + 1 (row 0 is PAD), M positions with a target.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from retort.offline.students.configs._base import StudentConfig
from retort.shared.base.schema import PAD


@dataclass(frozen=True)
class Examples:
    """Inputs and targets of a training step; targets (B, T) are PAD at positions without a target.

    Column t of the targets belongs to column t of the last T columns of the sequence, so the event of each target is
    known from the events of the sequence.
    """

    items_BT: Tensor
    targets_BT: Tensor


class ItemAddition(Protocol):
    """An addition of an objective to the item table during training; row 0 (PAD) must be zero."""

    def rows(self, items: Tensor) -> Tensor:
        """Return the addition (..., D) to each of the item indexes (...)."""

    def table(self) -> Tensor:
        """Return the addition (N, D) to every item."""


class Student(nn.Module):
    """Base class of sequence models over items; a subclass implements `hidden_states`.

    Scoring and export are inherited. A subclass reads its items by `embed`, so that the additions of objectives reach
    the input as well as the output.
    """

    # False: states depend on later items, and `last_state` predicts the next item in another way.
    causal: ClassVar[bool] = True
    # False: a state does not depend on the order of the items before it.
    ordered: ClassVar[bool] = True
    # False: the student overrides `match` and `scores`; objectives that require inner products refuse it.
    inner_product: ClassVar[bool] = True

    def __init__(self, config: StudentConfig, n_items: int) -> None:
        super().__init__()
        self.config = config
        self.n_items = n_items
        self.items = nn.Embedding(n_items + 1, config.embedding_dim, padding_idx=PAD)
        self._additions: list[
            ItemAddition
        ] = []  # a plain list: parameters of the objectives are not parameters of the student

    @property
    def n_blocks(self) -> int:
        """Number of states that `hidden_states` returns; 1 for a student without blocks."""
        return 1

    @torch.no_grad()
    def initialise_items(self) -> None:
        """Initialise the item vectors with mean length 1; the vector of PAD is zero."""
        nn.init.normal_(self.items.weight, std=self.config.embedding_dim**-0.5)
        self.items.weight[PAD].zero_()

    def hidden_states(self, items_BT: Tensor) -> list[Tensor]:
        """Return the hidden states (B, T, D) of each block; the last ones are scored.

        States at real positions do not depend on the amount of padding.

        Args:
            items_BT: Left-padded item indexes.
        """
        raise NotImplementedError

    def last_state(self, items_BT: Tensor) -> Tensor:
        """Return the state (B, D) after the newest item; a student may override this with a cheaper computation."""
        return self.hidden_states(items_BT)[-1][:, -1]

    def embed(self, items_BT: Tensor) -> Tensor:
        """Return the input vectors (B, T, D) of the items, additions included; the vector of PAD is zero."""
        x_BTD = self.items(items_BT)
        for addition in self._additions:
            x_BTD = x_BTD + addition.rows(items_BT)
        return x_BTD

    def item_table(self) -> Tensor:
        """Return the item vectors (N, D) that states are scored against."""
        return self.summed_items()

    def match(self, states_XD: Tensor, items_XD: Tensor) -> Tensor:
        """Return the score (...) of each item for its state; the two shapes broadcast."""
        return (states_XD * items_XD).sum(-1)

    def scores(self, states_MD: Tensor, items_KD: Tensor) -> Tensor:
        """Return the scores (M, K) of every state with every given item vector."""
        return states_MD @ items_KD.T

    def summed_items(self) -> Tensor:
        """Return the input item table (N, D), additions included."""
        table_ND: Tensor = self.items.weight
        for addition in self._additions:
            table_ND = table_ND + addition.table()
        return table_ND

    def add_to_items(self, addition: ItemAddition) -> None:
        """Add an addition to the item vectors until `fold` is called."""
        self._additions.append(addition)

    def folded_state(self) -> dict[str, Tensor]:
        """Return a copy of the state dict as it would be after `fold`."""
        state = {name: value.detach().clone() for name, value in self.state_dict().items()}
        state["items.weight"] = self.summed_items().detach().clone()
        return state

    @torch.no_grad()
    def fold(self) -> None:
        """Write the additions into the item table and remove them; the result is a plain student."""
        self.items.weight.copy_(self.summed_items())
        self._additions.clear()

    def penalty(self, n_targets: int) -> Tensor | None:
        """Return a term to add to the student's own loss of the last step, or None.

        Args:
            n_targets: Number of targets of the step.
        """
        return None

    def examples(self, sequences_BT: Tensor) -> Examples:
        """Make inputs and targets of left-padded sequences; by default each item is predicted from those before it."""
        return Examples(sequences_BT[:, :-1], sequences_BT[:, 1:])


def real_positions(items_BT: Tensor) -> Tensor:
    """Return a mask (B, T), True where there is an item."""
    return items_BT != PAD
