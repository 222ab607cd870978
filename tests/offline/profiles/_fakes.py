"""Fixtures: a small catalogue, histories over it, a scripted model and a store."""

from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from retort.offline.data.interactions import Items
from retort.offline.profiles.backends._base import Message, OnReplies, Prompt, Reply
from retort.offline.profiles.faithfulness import FaithfulnessChecker
from retort.offline.profiles.history import Event, Facts, UserHistory
from retort.offline.profiles.store import ProfileStore
from retort.offline.profiles.vocabulary import read_vocabulary
from retort.shared.base.settings import LanguageModelSettings
from retort.shared.db.migrate import upgrade
from retort.shared.db.session import open_database

GOOD = (
    "The user is drawn to warm and funny stories with a clear heart, and prefers comedies of the nineties to anything "
    "that is grim. They return to the same series and are curious about animation."
)
NO_SERVER = LanguageModelSettings(_env_file=None, openai_base_url=None, openai_api_key=None)  # type: ignore[call-arg]


def catalogue(n_items: int = 12) -> Items:
    """Films with two genres, a year and a plot."""
    genres = ["Comedy", "Drama", "Action", "Children's"]
    rows = [
        {
            "item_id": f"i{n}",
            "title": f"Film {n}: The Return",
            "text": f"A story about number {n} and a dog.",
            "year": 1970 + 3 * n,
            "genres": [genres[n % 4], genres[(n + 1) % 4]],
        }
        for n in range(n_items)
    ]
    return Items(pl.DataFrame(rows))


def histories(n_users: int = 5, length: int = 6, n_items: int = 12) -> list[UserHistory]:
    """Every user has another stretch of the catalogue, rated 1 to 5."""
    return [
        UserHistory(
            f"user-{user}",
            [f"i{(user + step) % n_items}" for step in range(length)],
            [float(1 + (user + step) % 5) for step in range(length)],
        )
        for user in range(n_users)
    ]


def events(n: int) -> list[Event]:
    """Numbered events, for what must keep its order."""
    return [Event(Facts(f"film-{at:03d}", {"genre": "Drama"}), 4.0) for at in range(n)]


# Eight comedies, a horror film and a war film, all of 1994.
HORROR_AND_WAR = [
    Event(Facts(f"Film {at}", {"genres": [genre], "year": "1994"}))
    for at, genre in enumerate([*["Comedy"] * 8, "Horror", "War"])
]
_TITLES = (
    "Night Train (1994)",
    "Science Fiction",
    "Matrix, The (1999)",
    "Star Wars: Episode IV - A New Hope (1977)",
    "Casablanca",
)
CHECKER = FaithfulnessChecker(
    read_vocabulary([*(event.facts for event in HORROR_AND_WAR * 2), *(Facts(title, {}) for title in _TITLES)])
)


class ScriptedBackend:
    """Answers by a function of the prompt and keeps every prompt; counts words as tokens."""

    def __init__(self, answer: Callable[[Prompt], Reply | str], context_tokens: int | None = None) -> None:
        self._answer, self._context_tokens = answer, context_tokens
        self.asked: list[Prompt] = []
        self.closed = False

    @property
    def model(self) -> str:
        return "scripted"

    @property
    def context_tokens(self) -> int | None:
        return self._context_tokens

    def count_tokens(self, messages: Sequence[Message]) -> int:
        return sum(len(one["content"].split()) for one in messages)

    def write(self, prompts: Sequence[Prompt], on_replies: OnReplies) -> list[Reply]:
        replies = []
        # the last first: nobody may rely on the order in which replies arrive
        for at, prompt in reversed(list(enumerate(prompts))):
            self.asked.append(prompt)
            said = self._answer(prompt)
            reply = Reply(said, 10, 5) if isinstance(said, str) else said
            on_replies([(at, reply)])
            replies.append(reply)
        return replies[::-1]

    def close(self) -> None:
        self.closed = True


def sqlite_store(folder: Path) -> ProfileStore:
    """A store in a fresh SQLite file."""
    url = f"sqlite:///{folder / 'retort.db'}"
    upgrade(url)
    return ProfileStore(open_database(url))
