"""User histories with item facts: the train events that a profile may be written from."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import polars as pl

from retort.offline.data.interactions import Interactions, Items
from retort.offline.data.split import Split, profile_histories, train_interactions
from retort.offline.profiles.item_facts import Facts
from retort.offline.profiles.vocabulary import Vocabulary, read_vocabulary
from retort.shared.base.errors import RecipeError
from retort.shared.base.text import clean_text

_CODES = frozenset(
    {"asin", "parent_asin", "isbn", "isbn10", "isbn13", "ean", "upc", "gtin", "sku", "barcode", "imdb_id"}
)
ItemType = Literal["none", "added", "instead"]
_WORD = re.compile(r"\w+")
_PHRASE_END = re.compile(r"[,;.:\n]\s|[;\n]|[,.]$")
_KIND_CHARS = 60
_PART_END = re.compile(r"\.\s+|\.$|\n+")


class UserHistory(NamedTuple):
    """Train events of one user, oldest first; a repeated item appears as often as it was chosen.

    times_ms: ms since 1970 (UTC) of each event; None where the data have positions only.
    """

    user_id: str
    item_ids: Sequence[str]
    weights: Sequence[float | None] | None = None
    times_ms: Sequence[int] | None = None


@dataclass(frozen=True)
class Event:
    """One event: the item's facts, the weight (such as a rating) and the time, None where unknown. Contains no ids."""

    facts: Facts
    weight: float | None = None
    time_ms: int | None = None


class Catalogue:
    """Item facts by item_id, reduced to what prompts may state."""

    def __init__(
        self,
        items: Items,
        attributes: Sequence[str] | None = None,
        text_chars: int = 0,
        item_type: ItemType = "none",
        *,
        clean: Callable[[str], str] = clean_text,
        keep_blank: bool = True,
    ) -> None:
        """Read the facts of all items.

        Args:
            attributes: Item attributes to keep; None: all.
            text_chars: Characters of the item text to keep; 0: none.
            item_type: Whether the type that the item knowledge states is added to the title, or stands in its place.
            clean: Makes each text storable.
            keep_blank: False: items without title, attributes and text are unknown.

        Raises:
            RecipeError: An attribute does not exist.
        """
        chosen = items.attributes if attributes is None else list(attributes)
        if unknown := sorted(set(chosen) - set(items.attributes)):
            raise RecipeError(
                f"[profiles] attributes names {unknown[0]!r}, which the items do not have; "
                f"they have: {', '.join(items.attributes) or 'none'}."
            )
        codes = _code_columns(items) if attributes is None else []
        shown = [name for name in chosen if name not in codes]
        columns = ["item_id", "title", "text", *chosen]
        kinds = items.knowledge if item_type != "none" else [None] * items.frame.height
        rows = zip(items.frame[columns].iter_rows(named=True), kinds, strict=True)
        facts = {
            row["item_id"]: _facts(row, shown, codes, text_chars, item_kind(kind), item_type, clean)
            for row, kind in rows
        }
        self._facts = {item_id: known for item_id, known in facts.items() if keep_blank or not known.is_blank}

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Terms by which claims about these items can be recognised."""
        return read_vocabulary(self._facts.values())

    def facts(self, item_id: str) -> Facts | None:
        """Return the facts of an item, or None for an unknown item."""
        return self._facts.get(item_id)

    def count(self, item_ids: Iterable[str]) -> int:
        """Return how many of these items are known."""
        return sum(item_id in self._facts for item_id in item_ids)

    def events(self, history: UserHistory, max_history: int | None) -> tuple[list[Event], int]:
        """Return the latest `max_history` events of known items, and the number of events of unknown items."""
        nothing = [None] * len(history.item_ids)
        weights: Sequence[float | None] = history.weights or nothing
        times_ms: Sequence[int | None] = history.times_ms or nothing
        found = [
            Event(facts, None if weight is None else float(weight), time_ms)
            for item_id, weight, time_ms in zip(history.item_ids, weights, times_ms, strict=True)
            if (facts := self._facts.get(item_id)) is not None
        ]
        return found[-max_history:] if max_history else found, len(history.item_ids) - len(found)


def _code_columns(items: Items) -> list[str]:
    """Attributes that only identify the item (asin, isbn, or the item's own id) and describe no taste."""
    ids = items.frame["item_id"]
    return [name for name in items.attributes if name.lower() in _CODES or _repeats_ids(items.frame[name], ids)]


def _repeats_ids(column: pl.Series, ids: pl.Series) -> bool:
    if column.dtype == pl.List or len(ids) < 2:
        return False
    return bool((column.cast(pl.String) == ids).fill_null(value=False).all())


def item_kind(knowledge: str | None) -> str:
    """Return what kind of thing an item is: the first phrase of its knowledge."""
    phrase = _PHRASE_END.split(clean_text(knowledge or "").strip(), maxsplit=1)[0]
    return " ".join(phrase.split())[:_KIND_CHARS].strip()


def _facts(
    row: Mapping[str, Any],
    attributes: Sequence[str],
    codes: Sequence[str],
    text_chars: int,
    kind: str,
    item_type: ItemType,
    clean: Callable[[str], str],
) -> Facts:
    known = {name: row[name] for name in attributes if row[name] is not None and row[name] != [] and row[name] != ""}
    known = {name: clean(value) if isinstance(value, str) else value for name, value in known.items()}
    known = {name: value for name, value in known.items() if value != ""}
    title = clean(row["title"] or "")
    stated = {"title": title, **known, **{name: row[name] for name in codes if row[name] is not None}}
    text = _without_repeats(clean(row["text"] or ""), stated) if text_chars else ""
    return Facts(title, known, text[:text_chars], kind, item_type != "instead" or not kind)


def _without_repeats(text: str, stated: Mapping[str, Any]) -> str:
    """Return a text without the parts that title and attributes already state; labels such as `genres:` go with them.

    An item's text is made from its title and attributes by default, so a prompt would state, and pay for, both twice.
    """
    words: set[str] = set()
    for name, value in stated.items():
        words.update(_WORD.findall(name.replace("_", " ").lower()), _WORD.findall(str(value).lower()))
    parts = (part.strip() for part in _PART_END.split(text))
    return ". ".join(part for part in parts if not words.issuperset(_WORD.findall(part.lower())))


class UserHistories:
    """The users with a train history; their number is known before they are read, for progress and time left."""

    def __init__(self, n_users: int, read: Callable[[], Iterator[UserHistory]]) -> None:
        """Args: read: starts a new pass over the users."""
        self._n_users, self._read = n_users, read

    def __len__(self) -> int:
        return self._n_users

    def __iter__(self) -> Iterator[UserHistory]:
        return self._read()


def user_histories(split: Split, interactions: Interactions | None = None) -> UserHistories:
    """Return the users with a train history; with `interactions` each event has its weight and time too."""
    if interactions is None:
        n_users = int((split.train.lengths > 0).sum())
        return UserHistories(n_users, lambda: (UserHistory(*history) for history in profile_histories(split)))
    frame, has_times = train_interactions(split, interactions), interactions.clock == "time"

    def read() -> Iterator[UserHistory]:
        for (user_id,), rows in frame.group_by(["user_id"], maintain_order=True):
            times_ms = rows["timestamp"].to_list() if has_times else None
            yield UserHistory(str(user_id), rows["item_id"].to_list(), rows["weight"].to_list(), times_ms)

    return UserHistories(frame["user_id"].n_unique(), read)
