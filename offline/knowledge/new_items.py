"""Knowledge of new items between two trainings: known items keep the bundle's texts, new ones are described first."""

from collections.abc import Callable
from pathlib import Path

import polars as pl

from retort.offline.common.progress import Progress
from retort.offline.data.interactions import KNOWLEDGE, Items
from retort.offline.knowledge.config import FILE, KnowledgeConfig
from retort.offline.knowledge.describe import SCHEMA, describe_items
from retort.offline.knowledge.imported import read_knowledge
from retort.offline.knowledge.store import KnowledgeStore
from retort.shared.base.schema import KNOWLEDGE_AT, KNOWLEDGE_SOURCE
from retort.shared.base.settings import LanguageModelSettings

# Returns the texts (`SCHEMA`) of items that have none yet.
DescribeNew = Callable[[Items, KnowledgeConfig], pl.DataFrame]


def describer(store: KnowledgeStore, settings: LanguageModelSettings, progress: Progress) -> DescribeNew:
    """Return a function that describes new items with the model of the settings; a few items need not all be known."""

    def describe(items: Items, config: KnowledgeConfig) -> pl.DataFrame:
        return describe_items(items, config.model_copy(update={"min_coverage": 0.0}), store, settings, progress)[0]

    return describe


def texts_for_bundle(
    items: Items,
    bundle_items: pl.DataFrame,
    config: KnowledgeConfig,
    progress: Progress,
    file: Path | None = None,
    describe: DescribeNew | None = None,
) -> pl.DataFrame:
    """Return the texts of items that are added to a bundle, and of its own items among them.

    Args:
        items: New items and known ones, with their own column of knowledge if they have one.
        bundle_items: Item table of the bundle.
        config: [knowledge] of the bundle's recipe.
        file: Ready texts, which win over all others.
        describe: Writes the texts of items that have none; None: they stay without.

    Returns:
        A table of `SCHEMA`.
    """
    texts = _of_bundle(bundle_items)
    if file is not None:
        ready = config.model_copy(update={"backend": FILE, "path": file})
        given, report = read_knowledge(ready, items, progress)
        report.described = given.height
        progress.say(report.line())
        texts = pl.concat([given.select(*SCHEMA), texts.filter(~pl.col("item_id").is_in(given["item_id"].implode()))])
    own = items.frame.filter(items.knowledge.is_not_null())["item_id"]
    lacking = items.frame.filter(~pl.col("item_id").is_in([*texts["item_id"], *own, *bundle_items["item_id"]]))
    if lacking.height and describe is not None and config.generates:
        texts = pl.concat([texts, describe(Items(lacking), config)])
    return texts.filter(pl.col("item_id").is_in(items.frame["item_id"].implode()))


def _of_bundle(bundle_items: pl.DataFrame) -> pl.DataFrame:
    """The texts that a bundle carries."""
    if KNOWLEDGE not in bundle_items.columns:
        return pl.DataFrame(schema=SCHEMA)
    named = {KNOWLEDGE: KNOWLEDGE, "source": KNOWLEDGE_SOURCE, "written_at": KNOWLEDGE_AT}
    columns = [
        (pl.col(stored) if stored in bundle_items.columns else pl.lit(None, pl.String)).alias(name)
        for name, stored in named.items()
    ]
    fields = pl.lit(None, pl.String).alias("fields")
    return bundle_items.filter(pl.col(KNOWLEDGE).is_not_null()).select("item_id", *columns, fields)
