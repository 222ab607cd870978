"""Checked events in parts of whole users, in memory or on disk: what is larger than memory is filtered part by part.

Parts are ranges of user ids, in ascending order, so that parts with sorted users are sorted as a whole.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from retort.offline.data.events import EventReader, without_zero_parts

PART_EVENTS = 4_000_000


@dataclass(frozen=True)
class EventPart:
    """All events of a range of users.

    Attributes:
        read: Returns the events; those on disk are read each time.
    """

    read: Callable[[], pl.DataFrame]

    @classmethod
    def of(cls, frame: pl.DataFrame) -> "EventPart":
        """Return a part that is in memory."""
        return cls(lambda: frame)

    @classmethod
    def stored(cls, frame: pl.DataFrame, path: Path) -> "EventPart":
        """Write a part to disk."""
        frame.write_ipc(path, compression="lz4")
        return cls(lambda: pl.read_ipc(path))


def read_parts(reader: EventReader, directory: Path | None, part_events: int = PART_EVENTS) -> list[EventPart]:
    """Read and check all events.

    Args:
        directory: Where parts are kept if there are more events than one part has; None: one part in memory.
        part_events: Approximate number of events of a part.
    """
    n_parts = 1 if directory is None else -(-reader.count_rows() // part_events)
    if directory is None or n_parts <= 1:
        return [EventPart.of(without_zero_parts(pl.concat(list(reader.blocks()), rechunk=False)))]
    directory.mkdir(parents=True, exist_ok=True)
    sample = reader.sample_users()
    cuts = sample.gather([len(sample) * part // n_parts for part in range(1, n_parts)]).unique().sort()
    files: list[list[Path]] = [[] for _ in range(len(cuts) + 1)]
    for number, block in enumerate(reader.blocks()):
        for part, rows in _divided(block, cuts):
            path = directory / f"block-{part}-{number}.arrow"
            rows.write_ipc(path, compression="lz4")
            files[part].append(path)
    return [EventPart(partial(_joined, paths)) for paths in files if paths]


def _divided(block: pl.DataFrame, cuts: pl.Series) -> Iterator[tuple[int, pl.DataFrame]]:
    """The rows of each range of users, in file order."""
    numbered = block.with_columns(cuts.search_sorted(block["user_id"], side="right").alias("_part"))
    for (part,), rows in numbered.partition_by("_part", as_dict=True, include_key=False).items():
        yield part, rows


def _joined(paths: list[Path]) -> pl.DataFrame:
    return without_zero_parts(pl.concat([pl.read_ipc(path) for path in paths], rechunk=True))
