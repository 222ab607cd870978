"""How a long step says how far it is, without knowing who listens."""

from collections.abc import Iterable, Iterator, Sized
from typing import Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """A listener: the terminal's bars, the database's step row, or nobody."""

    def update(self, what: str, done: int, total: int | None) -> None:
        """`done` of `total` units of `what` are finished."""

    def say(self, line: str) -> None:
        """One line worth reading."""


class Silent:
    """Listens to nothing."""

    def update(self, what: str, done: int, total: int | None) -> None:
        """Nobody is told."""

    def say(self, line: str) -> None:
        """Nobody is told."""


def track(items: Iterable[T], what: str, progress: Progress, total: int | None = None) -> Iterator[T]:
    """Pass items through and report each."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    progress.update(what, 0, total)
    for done, item in enumerate(items, start=1):
        yield item
        progress.update(what, done, total)
