"""Progress of long work, reported without knowing where it is shown."""

from collections.abc import Iterable, Iterator, Sized
from typing import Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """Receives progress: the terminal's bars, the step's row in the database, or nothing."""

    def update(self, what: str, done: int, total: int | None) -> None:
        """`done` of `total` units of `what` are finished."""

    def say(self, line: str) -> None:
        """Report one line of text."""


class Silent:
    """Progress that is not shown."""

    def update(self, what: str, done: int, total: int | None) -> None:
        """Do nothing."""

    def say(self, line: str) -> None:
        """Do nothing."""


def track(items: Iterable[T], what: str, progress: Progress, total: int | None = None) -> Iterator[T]:
    """Yield the items and report each as done."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    progress.update(what, 0, total)
    for done, item in enumerate(items, start=1):
        yield item
        progress.update(what, done, total)
