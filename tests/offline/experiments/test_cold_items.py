"""Cold items on synthetic data: the cases, the data that training sees, and texts that beat the controls."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from retort.offline.cli.experiment import cold_items_table
from retort.offline.common.progress import Silent
from retort.offline.data.split import make_split
from retort.offline.experiments.cold_item_data import ColdItemData, hide_items, make_cold_cases
from retort.offline.experiments.cold_items import NO_KNOWLEDGE, OTHERS, OTHERS_KNOWLEDGE, VIEWS, WORDS
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
    """Shop in which each user chooses items of one kind, which their titles name."""
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
def cold_data(shop: Path, recipe: Recipe, tmp_path: Path) -> ColdItemData:
    return hide_items(recipe, shop, 0.2, tmp_path, Silent())


def test_no_known_event_is_on_a_hidden_item(cold_data: ColdItemData) -> None:
    assert len(set(cold_data.cold_ids)) == 24
    left = pl.read_parquet(cold_data.folder / "interactions.parquet")
    assert set(left["item_id"]).isdisjoint(cold_data.cold_ids)
    assert len(left) + len(
        cold_data.loaded.interactions.frame.filter(pl.col("item_id").is_in(list(cold_data.cold_ids)))
    ) == len(cold_data.loaded.interactions.frame)


def test_target_is_the_last_hidden_item_after_the_train_events(cold_data: ColdItemData, recipe: Recipe) -> None:
    split = make_split(cold_data.known, recipe.split, "held")
    grown = ItemIndex([*split.item_index.ids, *sorted(cold_data.cold_ids)])
    cases = make_cold_cases(cold_data, split, grown)
    assert len(cases) > N_USERS / 2
    rows = dict(cold_data.loaded.interactions.frame.group_by("user_id", maintain_order=True).agg("item_id").iter_rows())
    for case in range(len(cases)):
        user, target = int(cases.users[case]), grown.id(int(cases.targets[case]))
        everything = rows[split.user_ids[user]]
        place = everything.index(target)
        before = [item for item in everything[:place] if item not in cold_data.cold_ids]
        assert target in cold_data.cold_ids
        assert not set(everything[place + 1 :]) & set(cold_data.cold_ids)
        assert len(before) >= split.train.lengths[user]
        assert [grown.id(int(item)) for item in cases.histories[case]] == [
            item for item in before if item in split.item_index
        ]


def test_texts_rank_new_items_better_than_the_controls(shop: Path, recipe: Recipe, tmp_path: Path) -> None:
    table_path = cold_items_table(recipe, shop, tmp_path / "runs", tmp_path / "tables", None, 0.2, 2)
    table = pl.read_csv(table_path)
    by = dict(zip(table["new items by"], table.iter_rows(named=True), strict=True))
    encoders, controls = [WORDS, "packaged-minilm", f"packaged-minilm + {WORDS}"], [OTHERS, "noise"]
    assert list(by) == [*encoders, f"{OTHERS} + {WORDS}", *controls]
    for encoder in encoders:
        for control in controls:
            assert by[encoder]["ndcg@10 of new"] > 1.5 * by[control]["ndcg@10 of new"]
            assert by[encoder]["fit"] > by[control]["fit"]
    combined = f"to {OTHERS} + {WORDS}"
    assert by[WORDS][f"to {WORDS}, p"] is None
    assert by[f"{OTHERS} + {WORDS}"][f"{combined}, gain"] is None
    assert by["noise"][f"{combined}, high"] < 0
    assert all(row["ndcg@10 of known"] <= row["ndcg@10 of known, alone"] for row in by.values())
    assert by["noise"][f"to {WORDS}, gain"] < 0
    assert by["noise"][f"to {WORDS}, p"] < 0.05
    assert {row["seeds"] for row in by.values()} == {2}
    bundles = [open_bundle(path) for path in (tmp_path / "runs" / "bundles").iterdir()]
    assert len(bundles) == 2
    assert all(len(bundle.item_index) <= 96 for bundle in bundles)


@pytest.mark.parametrize("share", [0.0, 0.001, 1.0])
def test_a_share_that_hides_nothing_or_all_is_refused(shop: Path, recipe: Recipe, share: float, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="choose another share"):
        hide_items(recipe, shop, share, tmp_path, Silent())


def test_word_counts_alone_are_refused(shop: Path, recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="name a text encoder"):
        cold_items_table(recipe, shop, tmp_path, tmp_path, ["tfidf"], 0.2, 1)


def test_knowledge_of_a_file_places_new_items_and_that_of_others_does_not(shop: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    events = pl.read_csv(shop / "events.csv")
    events.write_csv(data / "events.csv")
    pl.DataFrame(
        {
            "item_id": [f"i{item}" for item in range(N_ITEMS)],
            "title": [f"thing number {(item * 7) % 11} of {10 + item % 13}" for item in range(N_ITEMS)],
        }
    ).write_csv(data / "items.csv")
    texts = [f"{KINDS[item % 4]} for the {KINDS[item % 4]} lover number {item % 5}" for item in range(N_ITEMS)]
    known = pl.DataFrame({"item_id": [f"i{item}" for item in range(N_ITEMS)], "knowledge": texts})
    known.write_ndjson(data / "knowledge.jsonl")
    views = [{"text": "titled", "model": "tfidf"}, {"text": "knowledge", "model": "tfidf"}]
    options = {key: value for key, value in RECIPE["data"]["options"].items() if key != "users"}
    raw = RECIPE | {
        "data": RECIPE["data"] | {"options": options},
        "encoder": {"views": views},
        "knowledge": {"backend": "file", "path": "knowledge.jsonl"},
        "evaluation": {},
    }
    path = cold_items_table(parse_recipe("cold", raw), data, tmp_path / "runs", tmp_path, None, 0.2, 1, 1)
    by = {row["new items by"]: row for row in pl.read_csv(path).iter_rows(named=True)}
    assert list(by) == [WORDS, VIEWS, NO_KNOWLEDGE, OTHERS_KNOWLEDGE]
    for other in (WORDS, NO_KNOWLEDGE, OTHERS_KNOWLEDGE):
        assert by[VIEWS]["ndcg@10 of new"] > 1.5 * by[other]["ndcg@10 of new"]
        assert by[VIEWS]["ndcg@10 of all"] > by[other]["ndcg@10 of all"]
    assert by[VIEWS][f"to {NO_KNOWLEDGE}, of all, low"] > 0
    assert by[NO_KNOWLEDGE][f"to {NO_KNOWLEDGE}, of all, low"] is None
    assert (tmp_path / "runs" / "cold_items" / "cold-0.2-1").is_dir()
    path = cold_items_table(parse_recipe("cold", raw), data, tmp_path / "runs", tmp_path, None, 0.2, 1, 1, 0.02)
    fewer = {row["new items by"]: row for row in pl.read_csv(path).iter_rows(named=True)}
    assert fewer[VIEWS]["places"] < by[VIEWS]["places"]
    assert fewer[VIEWS]["ndcg@10 of known"] > by[VIEWS]["ndcg@10 of known"]


def test_knowledge_that_a_model_would_write_is_refused(shop: Path, tmp_path: Path) -> None:
    raw = RECIPE | {"knowledge": {"backend": "template"}, "encoder": {"views": [{"text": "knowledge"}]}}
    with pytest.raises(RecipeError, match="reads item knowledge from a file"):
        cold_items_table(parse_recipe("cold", raw), shop, tmp_path, tmp_path, None, 0.2, 1)
