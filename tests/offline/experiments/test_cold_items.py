"""New items by their texts: who is asked, what training sees, and that texts beat the controls, on made-up data."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from retort.offline.cli.experiment import cold_items_table
from retort.offline.common.progress import Silent
from retort.offline.data.split import make_split
from retort.offline.experiments.cold_items import OTHERS, WORDS, World, cold_cases, hide_items
from retort.offline.recipes.recipe import Recipe, parse_recipe
from retort.shared.base.errors import DataError, RecipeError
from retort.shared.model.bundle import open_bundle
from retort.shared.model.item_index import ItemIndex

KINDS = ("garden", "kitchen", "music", "sport")
N_ITEMS, N_USERS = 120, 240
RECIPE = {
    "protocol": "held",
    "data": {"source": "table", "options": {"interactions": "events.csv", "items": "items.csv", "users": "users.csv"}},
    "split": {"train_share": 0.7},
    "student": {"name": "sasrec", "max_length": 10, "embedding_dim": 16, "dropout": 0.1},
    "training": {"epochs": 8, "batch_size": 32, "negatives": 32, "warmup_steps": 5, "learning_rate": 5e-3},
    "evaluation": {"subsets": ["odd"]},
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Users stay with one kind of item, which its title names."""
    root = tmp_path_factory.mktemp("shop")
    random = np.random.default_rng(0)
    events = [
        (f"u{user}", f"i{item}")
        for user in range(N_USERS)
        for item in random.permutation(np.arange(user % 4, N_ITEMS, 4))[:16]
    ]
    pl.DataFrame(events, schema=["user_id", "item_id"], orient="row").write_csv(root / "events.csv")
    titles = [f"{KINDS[item % 4]} thing number {item % 7}" for item in range(N_ITEMS)]
    pl.DataFrame({"item_id": [f"i{item}" for item in range(N_ITEMS)], "title": titles}).write_csv(root / "items.csv")
    odd = [user % 2 == 1 for user in range(N_USERS)]
    pl.DataFrame({"user_id": [f"u{user}" for user in range(N_USERS)], "odd": odd}).write_csv(root / "users.csv")
    return root


@pytest.fixture
def recipe() -> Recipe:
    return parse_recipe("cold", RECIPE)


@pytest.fixture
def world(shop: Path, recipe: Recipe, tmp_path: Path) -> World:
    return hide_items(recipe, shop, 0.2, tmp_path, Silent())


def test_hidden_items_are_in_no_event_that_is_left(world: World) -> None:
    assert len(set(world.hidden)) == 24
    left = pl.read_parquet(world.folder / "interactions.parquet")
    assert set(left["item_id"]).isdisjoint(world.hidden)
    assert len(left) + len(world.loaded.interactions.frame.filter(pl.col("item_id").is_in(list(world.hidden)))) == len(
        world.loaded.interactions.frame
    )


def test_each_user_is_asked_for_the_last_hidden_item_after_all_that_was_learnt(world: World, recipe: Recipe) -> None:
    split = make_split(world.seen, recipe.split, "held")
    grown = ItemIndex([*split.item_index.ids, *sorted(world.hidden)])
    cases = cold_cases(world, split, grown)
    assert len(cases) > N_USERS / 2
    rows = dict(world.loaded.interactions.frame.group_by("user_id", maintain_order=True).agg("item_id").iter_rows())
    for case in range(len(cases)):
        user, target = int(cases.users[case]), grown.id(int(cases.targets[case]))
        everything = rows[split.user_ids[user]]
        place = everything.index(target)
        before = [item for item in everything[:place] if item not in world.hidden]
        assert target in world.hidden
        assert not set(everything[place + 1 :]) & set(world.hidden)
        assert len(before) >= split.train.lengths[user]
        assert [grown.id(int(item)) for item in cases.histories[case]] == [
            item for item in before if item in split.item_index
        ]


def test_texts_find_new_items_and_the_controls_do_not(shop: Path, recipe: Recipe, tmp_path: Path) -> None:
    path = cold_items_table(recipe, shop, tmp_path / "runs", tmp_path / "told", None, 0.2, 2)
    table = pl.read_csv(path)
    by = dict(zip(table["new items by"], table.iter_rows(named=True), strict=True))
    read, controls = [WORDS, "packaged-minilm", f"packaged-minilm + {WORDS}"], [OTHERS, "noise"]
    assert list(by) == [*read, f"{OTHERS} + {WORDS}", *controls]
    for taught in read:
        for control in controls:
            assert by[taught]["ndcg@10 of new"] > 1.5 * by[control]["ndcg@10 of new"]
            assert by[taught]["fit"] > by[control]["fit"]
    beside = f"to {OTHERS} + {WORDS}"
    assert by[WORDS][f"to {WORDS}, p"] is None
    assert by[f"{OTHERS} + {WORDS}"][f"{beside}, gain"] is None
    assert by["noise"][f"{beside}, high"] < 0
    assert all(row["ndcg@10 of known"] <= row["ndcg@10 of known, alone"] for row in by.values())
    assert by["noise"][f"to {WORDS}, gain"] < 0
    assert by["noise"][f"to {WORDS}, p"] < 0.05
    assert {row["seeds"] for row in by.values()} == {2}
    bundles = [open_bundle(one) for one in (tmp_path / "runs" / "bundles").iterdir()]
    assert len(bundles) == 2
    assert all(len(bundle.item_index) <= 96 for bundle in bundles)


@pytest.mark.parametrize("share", [0.0, 0.001, 1.0])
def test_a_share_that_hides_nothing_or_all_is_refused(shop: Path, recipe: Recipe, share: float, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="choose another share"):
        hide_items(recipe, shop, share, tmp_path, Silent())


def test_word_counts_alone_leave_nothing_to_compare(shop: Path, recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="name a text encoder"):
        cold_items_table(recipe, shop, tmp_path, tmp_path, ["tfidf"], 0.2, 1)
