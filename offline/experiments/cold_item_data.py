"""Data of the experiment on cold items: items hidden from all training, and test cases of users who chose one next."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from retort.offline.common.progress import Progress
from retort.offline.data.interactions import Interactions
from retort.offline.data.load import load_data
from retort.offline.data.ragged import Ragged
from retort.offline.data.split import Cases, Split
from retort.offline.data.tables import Loaded
from retort.offline.knowledge.imported import read_knowledge
from retort.offline.knowledge.items import with_knowledge
from retort.offline.pipeline.context import knowledge_in_data_directory
from retort.offline.recipes.recipe import Recipe, parse_recipe
from retort.shared.base.errors import DataError, RecipeError
from retort.shared.base.schema import ITEM_ID, USER_ID
from retort.shared.model.item_index import ItemIndex

_EVENTS, _ITEMS, _USERS = "interactions.parquet", "items.parquet", "users.parquet"


@dataclass(frozen=True)
class ColdItemData:
    """All data, the ids of the cold items, and the events on the other items (`known`), which are files in `folder`."""

    loaded: Loaded
    cold_ids: tuple[str, ...]
    known: Interactions
    folder: Path

    def make_recipe(self, recipe: Recipe, seed: int) -> Recipe:
        """Change the recipe to train on the known items with another seed."""
        order = "timestamp" if self.known.clock == "time" else "position"
        options = {"interactions": _EVENTS, "items": _ITEMS, order: "timestamp"}
        options |= {"time_unit": "ms"} if order == "timestamp" else {}
        options |= {"users": _USERS} if self.loaded.users is not None else {}
        data = {"source": "table", "options": options, "text_columns": ["text"], "repeats": "keep"}
        raw = {**recipe.raw, "data": data, "training": {**recipe.raw.get("training", {}), "seed": seed}}
        raw.pop("knowledge", None)  # it is a column of the items
        return parse_recipe(recipe.name, raw)


def hide_items(
    recipe: Recipe, data: Path | None, share: float, out: Path, progress: Progress, draw: int = 0
) -> ColdItemData:
    """Draw the cold items, and write the events on the other items into OUT/cold_items.

    Args:
        recipe: Its data are read.
        data: Directory of the raw files.
        share: Share of the items that is drawn.
        out: Run directory.
        progress: Of the reading.
        draw: Seed of the drawing.

    Raises:
        DataError: The share hides no item, or all of them.
    """
    loaded = _load_with_knowledge(recipe, data, progress)
    item_ids = loaded.interactions.frame[ITEM_ID].unique().sort()
    n_hidden = round(share * len(item_ids))
    if not 0 < n_hidden < len(item_ids):
        raise DataError(f"a share of {share:g} of {len(item_ids)} items hides {n_hidden}; choose another share.")
    cold_ids = item_ids.gather(np.random.default_rng(draw).choice(len(item_ids), n_hidden, replace=False)).to_list()
    known = loaded.interactions.frame.filter(~pl.col(ITEM_ID).is_in(cold_ids))
    folder = out / "cold_items" / f"{recipe.name}-{share:g}{f'-{draw}' if draw else ''}"
    folder.mkdir(parents=True, exist_ok=True)
    known.write_parquet(folder / _EVENTS)
    loaded.items.frame.write_parquet(folder / _ITEMS)
    if loaded.users is not None:
        loaded.users.write_parquet(folder / _USERS)
    return ColdItemData(loaded, tuple(cold_ids), Interactions(known, loaded.interactions.clock), folder)


def _load_with_knowledge(recipe: Recipe, data: Path | None, progress: Progress) -> Loaded:
    """The data, and the knowledge of a file on the items; the hidden items' too, because it knows no interaction."""
    loaded = load_data(recipe.data, data, progress)
    if not recipe.knowledge.is_on:
        return loaded
    if recipe.knowledge.generates:
        raise RecipeError(
            "this study reads item knowledge from a file: write it by `retort items knowledge export RECIPE --data DIR "
            '--to FILE`, and set [knowledge] backend = "file" and path.'
        )
    known, _ = read_knowledge(knowledge_in_data_directory(recipe.knowledge, data), loaded.items, progress)
    items = with_knowledge(loaded.items, known, recipe.data.text_columns, recipe.data.text_template)
    return replace(loaded, items=items)


def make_cold_cases(data: ColdItemData, split: Split, grown_index: ItemIndex) -> Cases:
    """Make one case for each user: the user's last event on a cold item after the user's train events.

    Args:
        data: With the cold items.
        split: Of the known items.
        grown_index: The index of the known items, followed by the cold ones.

    Returns:
        Cases whose history holds the known items before the event. Users without such an event or history are left out.

    Raises:
        DataError: No user has a case.
    """
    known = pl.col(ITEM_ID).is_in(list(split.item_index.ids))
    cold = pl.col(ITEM_ID).is_in(list(data.cold_ids))
    trained = pl.DataFrame({USER_ID: list(split.user_ids), "n_train": split.train.lengths})
    events = (
        data.loaded.interactions.frame.join(trained, on=USER_ID, maintain_order="left")
        .with_columns(before=(~cold).cast(pl.Int64).cum_sum().over(USER_ID), known=known, cold=cold)
        .with_columns(target=pl.col("cold") & (pl.col("before") >= pl.col("n_train")))
    )
    users, histories, targets = [], [], []
    user_index = {user_id: user for user, user_id in enumerate(split.user_ids)}
    for (user_id,), rows in events.group_by([USER_ID], maintain_order=True):
        positions = rows["target"].arg_true()
        if not len(positions):
            continue
        history = rows[: positions[-1]].filter("known")[ITEM_ID].to_list()
        if history:
            users.append(user_index[str(user_id)])
            histories.append(grown_index.indexes(history))
            targets.append(grown_index.index(rows[ITEM_ID][positions[-1]]) or 0)
    if not users:
        raise DataError(
            "no user has an event on a hidden item after the train events; hide a greater share of the items."
        )
    return Cases(np.array(users), Ragged.of(histories), np.array(targets))
