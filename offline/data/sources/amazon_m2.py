"""Amazon-M2 (KDD Cup 2023, arXiv 2307.09688): anonymous shopping sessions in six locales, ordered but without times.

Each session becomes a user, named by locale and row; its clock is the position.
"""

from pathlib import Path

import polars as pl
from pydantic import Field

from retort.offline.common.progress import Progress
from retort.offline.common.section import Section
from retort.offline.data.rejects import Rejects
from retort.offline.data.sources import RawTable, RawTables
from retort.offline.data.sources._files import find_file, find_optional_file, read_delimited, table

SESSIONS = ("sessions_train.csv", "*/sessions_train.csv")


class Config(Section):
    """Options: the locales to read together."""

    locales: list[str] = Field(["UK"], min_length=1, description="locales, from DE, JP, UK, ES, FR, IT")


def files(config: Config, root: Path | None) -> dict[str, Path]:
    """Return the sessions and, where there are any, the products."""
    sessions = find_file(root, *SESSIONS)
    products = find_optional_file(sessions.parent, "products_train.csv")
    return {"sessions": sessions, **({"products": products} if products else {})}


def read(config: Config, root: Path | None, rejects: Rejects, progress: Progress) -> RawTables:
    """Read sessions_train.csv and products_train.csv; a product of several locales keeps its first description."""
    found = files(config, root)
    path, products = found["sessions"], found.get("products")
    progress.say(f"reading {path}, locales {', '.join(config.locales)}")
    columns = {"prev_items": "prev_items", "next_item": "next_item", "locale": "locale"}
    sessions = table(path, read_delimited(path, rejects), columns).frame.filter(pl.col("locale").is_in(config.locales))
    return RawTables(
        (RawTable(path.name, _events(sessions), {"item_id": "prev_items, next_item"}),),
        items=(_products(products, config, rejects),) if products else (),
        clock="position",
    )


def _events(sessions: pl.LazyFrame) -> pl.LazyFrame:
    """One row an item: prev_items is text like ['B01' 'B02'], and next_item follows."""
    earlier = pl.col("prev_items").str.extract_all(r"'[^']*'").list.eval(pl.element().str.strip_chars("'"))
    # a session whose list cannot be read keeps one empty item, so that it is rejected and counted
    readable = pl.when(earlier.list.len() > 0).then(earlier).otherwise(pl.lit([""], dtype=pl.List(pl.String)))
    return (
        sessions.select(
            "row",
            pl.format("{}-{}", "locale", "row").alias("user_id"),
            pl.concat_list(readable, pl.col("next_item").fill_null("")).alias("item_id"),
        )
        .with_columns(timestamp=pl.int_ranges(pl.col("item_id").list.len()))
        .explode("item_id", "timestamp")
    )


def _products(path: Path, config: Config, rejects: Rejects) -> RawTable:
    raw = table(
        path, read_delimited(path, rejects), {"item_id": "id", "title": "title", "locale": "locale"}, others=True
    )
    frame = raw.frame.filter(pl.col("locale").is_in(config.locales))
    if "desc" in frame.collect_schema().names():
        frame = frame.rename({"desc": "description"})
    return RawTable(raw.file, frame.unique("item_id", keep="first", maintain_order=True), raw.names)
