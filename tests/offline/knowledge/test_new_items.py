"""New items are placed by their knowledge: titles say nothing here, the texts of a file or of a model do."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from retort.offline.common.database import migrate_and_open
from retort.offline.common.progress import Silent
from retort.offline.data.interactions import Items
from retort.offline.export.cold_items import Added, _with_knowledge, add_items, read_items
from retort.offline.knowledge.config import KnowledgeConfig
from retort.offline.knowledge.describe import SCHEMA
from retort.offline.knowledge.new_items import texts_for_bundle
from retort.offline.pipeline.build import make_pipeline
from retort.offline.pipeline.context import make_context
from retort.offline.pipeline.outcome import run_pipeline
from retort.offline.recipes.recipe import parse_recipe
from retort.shared.base.errors import DataError
from retort.shared.base.settings import Settings
from retort.shared.model.bundle import Bundle, open_bundle

KINDS = ("garden", "kitchen", "music", "sport")
N_ITEMS, N_USERS = 80, 160
RECIPE: dict[str, Any] = {
    "data": {"source": "table", "options": {"interactions": "events.csv", "items": "items.csv"}},
    "knowledge": {"backend": "file", "path": "knowledge.jsonl"},
    "encoder": {"model": "tfidf", "views": [{"text": "knowledge", "model": "tfidf"}]},
    "student": {"name": "sasrec", "max_length": 10, "embedding_dim": 16},
    "training": {"epochs": 8, "batch_size": 32, "negatives": 32, "warmup_steps": 5, "learning_rate": 5e-3},
    "objectives": [{"name": "text_start"}],
}


def text_of(item: int) -> str:
    kind = KINDS[item % 4]
    return f"{kind} equipment, for {kind} lovers, number{item % 7}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Path]:
    """Users stay with one kind of item; a fifth of the items is in no event. The bundle, and the folder of data."""
    root = tmp_path_factory.mktemp("world")
    random = np.random.default_rng(0)
    events = [
        (f"u{user}", f"i{item}")
        for user in range(N_USERS)
        for item in random.permutation([one for one in range(N_ITEMS) if one % 4 == user % 4 and one % 5 != 0])[:10]
    ]
    pl.DataFrame(events, schema=["user_id", "item_id"], orient="row").write_csv(root / "events.csv")
    frame = pl.DataFrame(
        {"item_id": [f"i{n}" for n in range(N_ITEMS)], "title": [f"Model {n}" for n in range(N_ITEMS)]}
    )
    frame.write_csv(root / "items.csv")
    rows = [{"item_id": f"i{n}", "knowledge": text_of(n), "model": "m"} for n in range(N_ITEMS)]
    (root / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (root / "knowledge.jsonl").write_text("".join(json.dumps(row) + "\n" for n, row in enumerate(rows) if n % 5))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RETORT_HOME", str(root / "home"))
        context = make_context(parse_recipe("cold", RECIPE), root, migrate_and_open(Settings()), Silent())
    return open_bundle(run_pipeline(make_pipeline(context, root / "runs")).bundle), root


def _share_placed_well(before: Bundle, added: Added) -> float:
    """Share of kinds whose new items rank before those of other kinds for users of the kind."""
    after = open_bundle(added.bundle)
    index, scorer = after.item_index, after.scorer()
    new = [f"i{item}" for item in range(0, N_ITEMS, 5)]
    hits = []
    for kind in range(4):
        history = np.array(index.indexes([f"i{item}" for item in range(N_ITEMS) if item % 4 == kind and item % 5][:6]))
        places = scorer.top_k([history], after.manifest.n_items).row(0)[0].tolist()
        ranks = {item: places.index(index.index(item)) for item in new}
        own = [rank for item, rank in ranks.items() if int(item[1:]) % 4 == kind]
        others = [rank for item, rank in ranks.items() if int(item[1:]) % 4 != kind]
        hits.append(np.mean(own) < np.mean(others))
    return float(np.mean(hits))


def test_a_bundle_carries_the_texts_with_their_source(world: tuple[Bundle, Path]) -> None:
    items = pl.DataFrame(pl.from_arrow(world[0].items))
    row = items.filter(pl.col("item_id") == "i1").row(0, named=True)
    assert (row["knowledge"], row["knowledge_source"], row["knowledge_at"]) == (text_of(1), "m", None)


def test_new_items_are_placed_by_the_knowledge_of_a_file(world: tuple[Bundle, Path], tmp_path: Path) -> None:
    before, root = world
    items = read_items(root / "items.csv", before, Silent())
    added = add_items(before, items, tmp_path, Silent(), knowledge=root / "all.jsonl")
    assert added.n_added == 16
    assert _share_placed_well(before, added) == 1.0
    items = pl.DataFrame(pl.from_arrow(open_bundle(added.bundle).items))
    assert items.filter(pl.col("item_id") == "i0").row(0, named=True)["knowledge"] == text_of(0)


def test_a_model_describes_the_new_items_alone(world: tuple[Bundle, Path], tmp_path: Path) -> None:
    before, root = world
    raw = before.manifest.recipe["knowledge"] | {"backend": "openai", "path": None}
    asked: list[str] = []

    def describe(items: Items, config: KnowledgeConfig) -> pl.DataFrame:
        assert config.generates
        asked.extend(items.frame["item_id"])
        rows = [(item_id, text_of(int(item_id[1:])), "m", None, None) for item_id in items.frame["item_id"]]
        return pl.DataFrame(rows, schema=SCHEMA, orient="row")

    items = Items(pl.read_csv(root / "items.csv").with_columns(text=pl.lit("")))
    own = pl.DataFrame(pl.from_arrow(before.items))
    config = KnowledgeConfig.model_validate(raw)
    texts = texts_for_bundle(items, own, config, Silent(), None, describe)
    assert sorted(asked) == sorted(f"i{item}" for item in range(0, N_ITEMS, 5))
    assert texts.height == N_ITEMS
    assert texts_for_bundle(items, own, config, Silent()).height == N_ITEMS - 16


def test_knowledge_for_a_bundle_without_it_is_refused(world: tuple[Bundle, Path]) -> None:
    before, root = world
    recipe = {**before.manifest.recipe, "knowledge": {}}
    without = replace(before, manifest=before.manifest.model_copy(update={"recipe": recipe}))
    items = Items(pl.read_csv(root / "items.csv").with_columns(text=pl.lit("")))
    with pytest.raises(DataError, match=r"has no .knowledge., so its items cannot get any"):
        _with_knowledge(items, without, Silent(), root / "all.jsonl", None)
