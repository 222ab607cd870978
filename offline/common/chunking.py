"""Batches of a stream."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def batches(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of `size` values, the last one shorter (`itertools.batched` came after Python 3.11)."""
    stream = iter(values)
    while batch := list(islice(stream, size)):
        yield batch
