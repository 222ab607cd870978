"""Themes of profiles: the catalogue's own words that a text speaks for and its history carries.

They are for people to read beside a recommendation, so a word that the history does not carry is none, however nicely
the model wrote it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

import polars as pl

from retort.offline.profiles.facets import PERIOD
from retort.offline.profiles.faithfulness import FaithfulnessChecker
from retort.offline.profiles.history import Catalogue, UserHistory
from retort.offline.profiles.store import ProfileStore
from retort.shared.history.themes import MAX_THEMES, Theme

_USERS_AT_ONCE = 500


def extract_themes(
    histories: Iterable[UserHistory],
    texts: Mapping[str, str],
    catalogue: Catalogue,
    store: ProfileStore,
    max_history: int | None,
) -> Iterator[tuple[str, list[Theme]]]:
    """(user_id, themes) of everybody with a history; none for those who erased their profile or never had one.

    What a person wrote or pinned stands above `texts`, as it does wherever profiles are used.
    """
    checker = FaithfulnessChecker(catalogue.vocabulary)
    chunk: list[UserHistory] = []
    for history in histories:
        chunk.append(history)
        if len(chunk) == _USERS_AT_ONCE:
            yield from _of_some(chunk, texts, catalogue, store, max_history, checker)
            chunk = []
    yield from _of_some(chunk, texts, catalogue, store, max_history, checker)


def join_texts(profiles: pl.DataFrame) -> dict[str, str]:
    """All aspects of a user as one text. profiles: user_id, aspect, text."""
    parts: dict[str, list[str]] = defaultdict(list)
    for user_id, text in profiles.select("user_id", "text").iter_rows():
        parts[user_id].append(text)
    return {user_id: "\n".join(own) for user_id, own in parts.items()}


def _of_some(
    some: list[UserHistory],
    texts: Mapping[str, str],
    catalogue: Catalogue,
    store: ProfileStore,
    max_history: int | None,
    checker: FaithfulnessChecker,
) -> Iterator[tuple[str, list[Theme]]]:
    chosen = store.choices([history.user_id for history in some])
    for history in some:
        choice = chosen.get(history.user_id)
        text = texts.get(history.user_id) if choice is None else choice.text
        events, _ = catalogue.events(history, max_history)
        liked = checker.liked(text, events) if text else []
        # A decade is no attribute of an item that serving could look up.
        named = [Theme(name, value) for name, value in liked if name != PERIOD]
        yield history.user_id, named[:MAX_THEMES]
