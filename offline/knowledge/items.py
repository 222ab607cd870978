"""Items with knowledge: the column `knowledge` of `Items.frame`, facets as attributes, and the texts that name it."""

from collections.abc import Sequence

import polars as pl

from retort.offline.data.catalogue import made_text
from retort.offline.data.interactions import KNOWLEDGE, Items
from retort.offline.data.text import reads_knowledge

_FIRST = ("item_id", "title", "text", KNOWLEDGE)


def with_knowledge(
    items: Items,
    known: pl.DataFrame,
    columns: Sequence[str] | None,
    template: str | None,
    facets: Sequence[str] = (),
) -> Items:
    """Add texts to items; a text replaces what the items' own column says.

    Args:
        known: item_id and knowledge, one row an item, and for facets also `fields` (JSON).
        columns: [data] text_columns, and
        template: text_template; where they name knowledge, the items' texts are made again.
        facets: Fields that become attributes: `knowledge_type` and so on, lists of phrases.
    """
    frame = items.frame.with_columns(items.knowledge.alias("_own")).drop(KNOWLEDGE, strict=False)
    attributes = [_facet(name) for name in facets]
    added = known.select("item_id", KNOWLEDGE, *attributes)
    joined = frame.join(added, on="item_id", how="left", maintain_order="left")
    joined = joined.with_columns(pl.coalesce(KNOWLEDGE, "_own").alias(KNOWLEDGE)).drop("_own")
    if reads_knowledge(columns, template):
        joined = joined.with_columns(made_text(joined, columns, template).alias("text"))
    return Items(joined.select(*_FIRST, pl.exclude(*_FIRST)))


def _facet(name: str) -> pl.Expr:
    """The phrases of one field in lower case, null where there are none."""
    phrases = pl.col("fields").str.json_path_match(f"$.{name}").str.to_lowercase()
    listed = phrases.str.json_decode(pl.List(pl.String))
    return pl.when(listed.list.len() > 0).then(listed).alias(f"{KNOWLEDGE}_{name}")
