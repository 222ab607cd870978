"""What a profile may be written from: each user's train events, joined with what is known of the items."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from retort.offline.data.interactions import Interactions, Items
from retort.offline.data.split import Split, profile_histories, train_interactions
from retort.offline.profiles.item_facts import Facts
from retort.offline.profiles.vocabulary import Vocabulary, read_vocabulary
from retort.shared.base.errors import RecipeError


class UserHistory(NamedTuple):
    """Train events of one user, oldest first; a repeated item stands there as often as it was chosen."""

    user_id: str
    item_ids: Sequence[str]
    weights: Sequence[float | None] | None = None


@dataclass(frozen=True)
class Event:
    """One choice: the item's facts and the weight (a rating, say), None where unknown. No ids."""

    facts: Facts
    weight: float | None = None


class Catalogue:
    """Facts by item_id, cut to what the recipe wants in prompts."""

    def __init__(self, items: Items, attributes: Sequence[str] | None = None, text_chars: int = 0) -> None:
        """attributes: None takes all; text_chars: characters of the item text that are quoted, 0 for none."""
        chosen = items.attributes if attributes is None else list(attributes)
        if unknown := sorted(set(chosen) - set(items.attributes)):
            raise RecipeError(
                f"[profiles] attributes names {unknown[0]!r}, which the items do not have; "
                f"they have: {', '.join(items.attributes) or 'none'}."
            )
        columns = ["item_id", "title", "text", *chosen]
        rows = items.frame[columns].iter_rows(named=True)
        self._facts = {row["item_id"]: _facts(row, chosen, text_chars) for row in rows}

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The words that claims about these items can be made with."""
        return read_vocabulary(self._facts.values())

    def facts(self, item_id: str) -> Facts | None:
        """What is known of an item."""
        return self._facts.get(item_id)

    def count(self, item_ids: Iterable[str]) -> int:
        """How many of these are known."""
        return sum(item_id in self._facts for item_id in item_ids)

    def events(self, history: UserHistory, max_history: int | None) -> tuple[list[Event], int]:
        """The latest max_history events whose item is known, and how many were left out because it is not."""
        weights: Sequence[float | None] = history.weights or [None] * len(history.item_ids)
        found = [
            Event(facts, None if weight is None else float(weight))
            for item_id, weight in zip(history.item_ids, weights, strict=True)
            if (facts := self._facts.get(item_id)) is not None
        ]
        return found[-max_history:] if max_history else found, len(history.item_ids) - len(found)


def _facts(row: Mapping[str, Any], attributes: Iterable[str], text_chars: int) -> Facts:
    known = {name: row[name] for name in attributes if row[name] is not None and row[name] != [] and row[name] != ""}
    return Facts(row["title"] or "", known, (row["text"] or "")[:text_chars])


def user_histories(split: Split, interactions: Interactions | None = None) -> Iterator[UserHistory]:
    """Users with a train history; with the interactions given, each event carries its weight too."""
    if interactions is None:
        yield from (UserHistory(user_id, item_ids) for user_id, item_ids in profile_histories(split))
        return
    frame = train_interactions(split, interactions)
    for (user_id,), rows in frame.group_by(["user_id"], maintain_order=True):
        yield UserHistory(str(user_id), rows["item_id"].to_list(), rows["weight"].to_list())
