"""The database's events as one Parquet file: a training reads what stands still, and its hash says what that was."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from shared.db.models import Event

EVENTS_FILE = "events.parquet"
SCHEMA = pa.schema(
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


def write_events(chunks: Iterable[Sequence[Event]], directory: Path) -> int:
    """Write `events.parquet` into `directory`, in the order given; how many events. A reader sees all of it or none."""
    directory.mkdir(parents=True, exist_ok=True)
    partial, n_events = directory / f".{EVENTS_FILE}.{os.getpid()}", 0
    try:
        with pq.ParquetWriter(partial, SCHEMA) as writer:
            for rows in chunks:
                columns = [[getattr(row, name) for row in rows] for name in SCHEMA.names]
                writer.write_table(pa.table(columns, schema=SCHEMA))
                n_events += len(rows)
        os.replace(partial, directory / EVENTS_FILE)
    finally:
        partial.unlink(missing_ok=True)
    return n_events
