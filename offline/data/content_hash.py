"""The name of cleaned data: the same from CSV and Parquet, in whatever order the rows stood."""

import hashlib
from typing import Any

import orjson
import polars as pl

from retort.offline.data.interactions import Interactions, Items

VERSION = b"retort-data-1"


def data_hash(interactions: Interactions, items: Items, users: pl.DataFrame | None) -> str:
    """SHA-256 in hex. Order counts only where two events of a user have the same time."""
    digest = hashlib.sha256(VERSION + interactions.clock.encode())
    frame = interactions.frame
    for column in ("user_id", "item_id"):
        ids = frame[column].unique().sort()
        codes = frame.select(column).join(
            pl.DataFrame({column: ids}).with_row_index("code"), on=column, how="left", maintain_order="left"
        )
        digest.update(orjson.dumps(ids.to_list()))
        digest.update(codes["code"].to_numpy().astype("<u4").tobytes())
    digest.update(frame["timestamp"].to_numpy().astype("<i8").tobytes())
    digest.update(frame["weight"].is_null().to_numpy().tobytes())
    digest.update(frame["weight"].fill_null(0).to_numpy().astype("<f4").tobytes())
    _add_table(digest, items.frame.sort("item_id"))
    if users is not None:
        _add_table(digest, users.sort("user_id"))
    return digest.hexdigest()


def _add_table(digest: Any, frame: pl.DataFrame) -> None:
    for name in sorted(frame.columns):
        digest.update(orjson.dumps([name, frame[name].to_list()]))
