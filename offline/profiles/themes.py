"""Themes of profiles: catalogue terms that a profile speaks for and the user's history supports.

Themes are shown to users as the reason of a recommendation, so a term that the history does not support is left out.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

import polars as pl

from retort.offline.profiles.faithfulness import FaithfulnessChecker
from retort.offline.profiles.history import Catalogue, UserHistory
from retort.offline.profiles.item_facts import PERIOD
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
    """Yield (user_id, themes) of every user with a history.

    A text that the user edited or pinned replaces the one in `texts`. A user who has no profile, or erased it, has no
    themes.

    Args:
        texts: user_id → profile text.
        max_history: Latest known events to compare with; None: all.
    """
    checker = FaithfulnessChecker(catalogue.vocabulary)
    chunk: list[UserHistory] = []
    for history in histories:
        chunk.append(history)
        if len(chunk) == _USERS_AT_ONCE:
            yield from _themes_of_chunk(chunk, texts, catalogue, store, max_history, checker)
            chunk = []
    yield from _themes_of_chunk(chunk, texts, catalogue, store, max_history, checker)


def join_texts(profiles: pl.DataFrame) -> dict[str, str]:
    """Join all aspects of each user into one text.

    Args:
        profiles: Table with user_id, aspect, text.
    """
    parts: dict[str, list[str]] = defaultdict(list)
    for user_id, text in profiles.select("user_id", "text").iter_rows():
        parts[user_id].append(text)
    return {user_id: "\n".join(own) for user_id, own in parts.items()}


def _themes_of_chunk(
    histories: list[UserHistory],
    texts: Mapping[str, str],
    catalogue: Catalogue,
    store: ProfileStore,
    max_history: int | None,
    checker: FaithfulnessChecker,
) -> Iterator[tuple[str, list[Theme]]]:
    chosen = store.choices([history.user_id for history in histories])
    for history in histories:
        choice = chosen.get(history.user_id)
        text = texts.get(history.user_id) if choice is None else choice.text
        events, _ = catalogue.events(history, max_history)
        liked_facets = checker.liked_facets(text, events) if text else []
        # A decade is not an attribute of an item, so serving could not look it up.
        themes = [Theme(name, value) for name, value in liked_facets if name != PERIOD]
        yield history.user_id, themes[:MAX_THEMES]
