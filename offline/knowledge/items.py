"""Items with knowledge: the column `knowledge` of `Items.frame`, and the texts that name it."""

from collections.abc import Sequence

import polars as pl

from retort.offline.data.catalogue import made_text
from retort.offline.data.interactions import KNOWLEDGE, Items
from retort.offline.data.text import reads_knowledge


def with_knowledge(items: Items, known: pl.DataFrame, columns: Sequence[str] | None, template: str | None) -> Items:
    """Add texts to items; a text replaces what the items' own column says.

    Args:
        known: item_id and knowledge, one row an item.
        columns: [data] text_columns, and
        template: text_template; where they name knowledge, the items' texts are made again.
    """
    frame = items.frame.with_columns(items.knowledge.alias("_own")).drop(KNOWLEDGE, strict=False)
    joined = frame.join(known.select("item_id", KNOWLEDGE), on="item_id", how="left", maintain_order="left")
    joined = joined.with_columns(pl.coalesce(KNOWLEDGE, "_own").alias(KNOWLEDGE)).drop("_own")
    if reads_knowledge(columns, template):
        joined = joined.with_columns(made_text(joined, columns, template).alias("text"))
    return Items(
        joined.select("item_id", "title", "text", KNOWLEDGE, pl.exclude("item_id", "title", "text", KNOWLEDGE))
    )
