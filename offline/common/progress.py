"""Progress of long work, reported without knowing where it is shown."""

from collections.abc import Iterable, Iterator, Sized
from typing import Protocol, TypeVar

T = TypeVar("T")


# The first word of work whose units are bytes: `fetching x.csv 12.4 MB of 1.2 GB`.
BYTES_OF = "fetching"


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


def describe_progress(what: str, done: int, total: int | None, seconds_left: float | None = None) -> str:
    """One line of progress: `epoch 8 of 40 · 6 min left`, or `reading x.jsonl: 60,000` where no total is known."""
    count = describe_bytes if what.startswith(f"{BYTES_OF} ") else "{:,}".format
    if total is None:
        return f"{what}: {count(done)}" if done else what
    left = "" if seconds_left is None or done >= total else f" · {describe_seconds(seconds_left)} left"
    return f"{what} {count(done)} of {count(total)}{left}"


def describe_bytes(n_bytes: int) -> str:
    """A size in its largest unit: `512 B`, `40 kB`, `12.4 MB`, `1.2 GB`."""
    if n_bytes < 1000:
        return f"{n_bytes} B"
    if n_bytes < 10**6:
        return f"{n_bytes / 1000:.0f} kB"
    return f"{n_bytes / 10**6:.1f} MB" if n_bytes < 10**9 else f"{n_bytes / 10**9:.1f} GB"


def describe_seconds(seconds: float) -> str:
    """A duration in its largest unit: `40 s`, `6 min`, `3.5 h`, `2.1 days`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86_400:.1f} days"


def seconds_left(done: int, total: int | None, elapsed_s: float) -> float | None:
    """The time that is left if the rest is as fast as what is done; None where that is unknown."""
    return None if not total or not done else elapsed_s / done * (total - done)


def track(items: Iterable[T], what: str, progress: Progress, total: int | None = None) -> Iterator[T]:
    """Yield the items and report each as done."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    progress.update(what, 0, total)
    for done, item in enumerate(items, start=1):
        yield item
        progress.update(what, done, total)
