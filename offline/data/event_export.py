"""Event export: the database's events and exposures as Parquet files.

Training reads files because they do not change during a run and can be identified by a hash.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from retort.shared.db.models import Event, Exposure

EVENTS_FILE = "events.parquet"
EXPOSURES_FILE = "exposures.parquet"
EVENTS = pa.schema(
    [
        ("user_id", pa.string()),
        ("session_id", pa.string()),
        ("item_id", pa.string()),
        ("event_type", pa.string()),
        ("weight", pa.float64()),
        ("value", pa.float64()),
        ("time_ms", pa.int64()),
        ("event_id", pa.string()),
        ("request_id", pa.string()),
        ("impressions", pa.list_(pa.string())),
    ]
)
EXPOSURES = pa.schema(
    [
        ("request_id", pa.string()),
        ("user_id", pa.string()),
        ("session_id", pa.string()),
        ("item_ids", pa.list_(pa.string())),
        ("first_rank", pa.int64()),
        ("shown_ms", pa.int64()),
        ("source", pa.string()),
        ("reason", pa.string()),
        ("model", pa.string()),
        ("version", pa.string()),
        ("experiment", pa.string()),
        ("variant", pa.string()),
    ]
)


def write_events(chunks: Iterable[Sequence[Event]], directory: Path) -> int:
    """Write `events.parquet` into `directory`, in the given order; the file appears whole or not at all.

    Returns:
        The number of events.
    """
    return _write(chunks, EVENTS, directory / EVENTS_FILE)


def write_exposures(chunks: Iterable[Sequence[Exposure]], directory: Path) -> int:
    """Write `exposures.parquet`, one row for each shown list.

    Returns:
        The number of lists.
    """
    return _write(chunks, EXPOSURES, directory / EXPOSURES_FILE)


def _write(chunks: Iterable[Sequence[Event | Exposure]], schema: pa.Schema, path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, n_rows = path.with_name(f".{path.name}.{os.getpid()}"), 0
    try:
        with pq.ParquetWriter(partial, schema) as writer:
            for rows in chunks:
                columns = [[getattr(row, name) for row in rows] for name in schema.names]
                writer.write_table(pa.table(columns, schema=schema))
                n_rows += len(rows)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return n_rows
