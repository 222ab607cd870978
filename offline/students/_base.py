"""What every student is: hidden states over a sequence of items, scored against its item table.

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
    """What a student reads and what it should say: targets (B, T) are PAD where nothing is asked.

    Column t of the targets belongs to column t of the sequence's last T: so whoever knows which event stands where
    in the sequence knows which event is asked for where.
    """

    items_BT: Tensor
    targets_BT: Tensor


class ItemAddition(Protocol):
    """What an objective adds to the item table while training; row 0 (PAD) must be zero."""

    def rows(self, items: Tensor) -> Tensor:
        """Item indexes of any shape → the addition to each, (..., D)."""

    def table(self) -> Tensor:
        """(N, D): the addition to every item."""


class Student(nn.Module):
    """A sequence model over items. A subclass states `hidden_states`; scoring and export are inherited.

    A subclass reads its items by `embed`, so that what an objective adds while training reaches input and output.
    """

    # False: states see items after them, and `last_state` asks for the next item in another way.
    causal: ClassVar[bool] = True
    # False: a state does not depend on the order of the items before it.
    ordered: ClassVar[bool] = True
    # False: `match` and `scores` are its own, and what needs scores to be inner products cannot teach it.
    inner_product: ClassVar[bool] = True

    def __init__(self, config: StudentConfig, n_items: int) -> None:
        super().__init__()
        self.config = config
        self.n_items = n_items
        self.items = nn.Embedding(n_items + 1, config.embedding_dim, padding_idx=PAD)
        self._additions: list[ItemAddition] = []  # a plain list: its owners' parameters are no part of a student

    @property
    def n_blocks(self) -> int:
        """How many states `hidden_states` returns; one, where there are no blocks."""
        return 1

    @torch.no_grad()
    def initialise_items(self) -> None:
        """Draw the items' first vectors, of mean length 1; PAD's is zero."""
        nn.init.normal_(self.items.weight, std=self.config.embedding_dim**-0.5)
        self.items.weight[PAD].zero_()

    def hidden_states(self, items_BT: Tensor) -> list[Tensor]:
        """(B, T) left-padded item indexes → one (B, T, D) a block; the last one is what scores.

        Padding says nothing: real positions do not depend on how much of it there is.
        """
        raise NotImplementedError

    def last_state(self, items_BT: Tensor) -> Tensor:
        """(B, D): the state after the newest item. A student that can get it with less work overrides this."""
        return self.hidden_states(items_BT)[-1][:, -1]

    def embed(self, items_BT: Tensor) -> Tensor:
        """(B, T, D): the vectors of the items read; PAD's is zero."""
        x_BTD = self.items(items_BT)
        for addition in self._additions:
            x_BTD = x_BTD + addition.rows(items_BT)
        return x_BTD

    def item_table(self) -> Tensor:
        """(N, D): the vectors that states are scored against."""
        return self.summed_items()

    def match(self, states_XD: Tensor, items_XD: Tensor) -> Tensor:
        """Two shapes that broadcast → (…): how well each item goes with its state."""
        return (states_XD * items_XD).sum(-1)

    def scores(self, states_MD: Tensor, items_KD: Tensor) -> Tensor:
        """(M, K): `match` of every state with every row of (a part of) the item table."""
        return states_MD @ items_KD.T

    def summed_items(self) -> Tensor:
        """(N, D): the item table as `embed` reads it, additions included."""
        table_ND: Tensor = self.items.weight
        for addition in self._additions:
            table_ND = table_ND + addition.table()
        return table_ND

    def add_to_items(self, addition: ItemAddition) -> None:
        """From now on every item's vector has this added, until `fold`."""
        self._additions.append(addition)

    def folded_state(self) -> dict[str, Tensor]:
        """A copy of the state dict as it would be after `fold`."""
        state = {name: value.detach().clone() for name, value in self.state_dict().items()}
        state["items.weight"] = self.summed_items().detach().clone()
        return state

    @torch.no_grad()
    def fold(self) -> None:
        """Write the additions into the table and forget them: what is left is a plain student."""
        self.items.weight.copy_(self.summed_items())
        self._additions.clear()

    def penalty(self, n_targets: int) -> Tensor | None:
        """What a student adds to its own loss after a training step's states, if anything; n_targets: asked in it."""
        return None

    def examples(self, sequences_BT: Tensor) -> Examples:
        """Left-padded sequences → inputs and targets. Here: every item is to be told from those before it."""
        return Examples(sequences_BT[:, :-1], sequences_BT[:, 1:])


def real_positions(items_BT: Tensor) -> Tensor:
    """(B, T) bool: where there is an item."""
    return items_BT != PAD
