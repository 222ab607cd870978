"""Items that no training has seen become recommendable by their texts: the direction, on made-up data."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import onnx
import polars as pl
import pytest
import torch

from retort.offline.common.database import migrate_and_open
from retort.offline.common.progress import Silent
from retort.offline.evaluation.promotion_gate import check_promotion
from retort.offline.export.cold_items import add_items, read_items
from retort.offline.export.onnx import export_student, item_vectors
from retort.offline.export.topk_graph import grow_table
from retort.offline.pipeline.build import make_pipeline
from retort.offline.pipeline.context import make_context
from retort.offline.pipeline.outcome import run_pipeline
from retort.offline.recipes.recipe import parse_recipe
from retort.offline.students import bert4rec
from retort.shared.base.errors import BundleError, DataError
from retort.shared.base.settings import Settings
from retort.shared.model.bundle import Bundle, open_bundle
from retort.shared.model.scoring import Scorer
from tests.offline._rankings import assert_same_ranking
from tests.offline.export.test_topk_graph import graph_of, scorer_of, table_of

KINDS = ("garden", "kitchen", "music", "sport")
N_ITEMS, N_USERS = 80, 160
RECIPE = {
    "data": {"source": "table", "options": {"interactions": "events.csv", "items": "items.csv"}},
    "encoder": {"model": "tfidf"},
    "student": {"name": "sasrec", "max_length": 10, "embedding_dim": 16},
    "training": {"epochs": 8, "batch_size": 32, "negatives": 32, "warmup_steps": 5, "learning_rate": 5e-3},
    "objectives": [{"name": "text_start"}],
}


def kind_of(item: int) -> str:
    return KINDS[item % len(KINDS)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Path]:
    """Users stay with one kind of item; a fifth of the items is kept out of all events. The bundle, and all items."""
    root = tmp_path_factory.mktemp("world")
    random = np.random.default_rng(0)
    events = [
        (f"u{user}", f"i{item}")
        for user in range(N_USERS)
        for item in random.permutation([one for one in range(N_ITEMS) if one % 4 == user % 4 and one % 5 != 0])[:10]
    ]
    pl.DataFrame(events, schema=["user_id", "item_id"], orient="row").write_csv(root / "events.csv")
    titles = [f"{kind_of(item)} thing number{item % 7}" for item in range(N_ITEMS)]
    pl.DataFrame({"item_id": [f"i{n}" for n in range(N_ITEMS)], "title": titles}).write_csv(root / "items.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RETORT_HOME", str(root / "home"))
        context = make_context(parse_recipe("cold", RECIPE), root, migrate_and_open(Settings()), Silent())
    outcome = run_pipeline(make_pipeline(context, root / "runs"))
    return open_bundle(outcome.bundle), root / "items.csv"


def test_new_items_are_recommended_to_users_of_similar_items(world: tuple[Bundle, Path], tmp_path: Path) -> None:
    before, items = world
    added = add_items(before, read_items(items, before, Silent()), tmp_path, Silent())
    after = open_bundle(added.bundle)
    assert added.n_added == after.manifest.n_items - before.manifest.n_items == 16
    assert added.fit > 0
    index, scorer = after.item_index, after.scorer()
    new = [f"i{item}" for item in range(0, N_ITEMS, 5)]
    hits = []
    for kind in range(4):
        history = np.array(index.indexes([f"i{item}" for item in range(N_ITEMS) if item % 4 == kind and item % 5][:6]))
        places = scorer.top_k([history], after.manifest.n_items).row(0)[0].tolist()
        ranks = {item: places.index(index.index(item)) for item in new}
        mine = [rank for item, rank in ranks.items() if int(item[1:]) % 4 == kind]
        others = [rank for item, rank in ranks.items() if int(item[1:]) % 4 != kind]
        hits.append(np.mean(mine) < np.mean(others))
        assert np.mean(mine) < len(index) / 2
    assert all(hits)


def test_known_items_score_as_before(world: tuple[Bundle, Path], tmp_path: Path) -> None:
    before, items = world
    after = open_bundle(add_items(before, read_items(items, before, Silent()), tmp_path, Silent()).bundle)
    history = [np.array([1, 2, 3])]
    old_items, old_scores = before.scorer().top_k(history, before.manifest.n_items).row(0)
    new_items, new_scores = after.scorer().top_k(history, after.manifest.n_items).row(0)
    known = new_items <= before.manifest.n_items
    assert_same_ranking((new_items[known], new_scores[known]), (old_items, old_scores))
    assert after.popularity[before.manifest.n_items + 1 :].sum() == 0
    assert after.manifest.recipe["items_added"]["to"] == before.bundle_id
    assert "users_test.parquet" not in after.manifest.files
    verdict = check_promotion(before, after, None, None, Silent())
    assert verdict.passed
    assert "with 16 items added" in verdict.reason
    assert not check_promotion(after, before, None, None, Silent()).passed, (
        "only where the champion is the one it grew from"
    )


def test_an_int8_bundle_holds_its_report_and_takes_new_items(
    world: tuple[Bundle, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact, items = world
    monkeypatch.setenv("RETORT_HOME", str(items.parent / "home"))
    recipe = parse_recipe("cold", RECIPE | {"export": {"precision": "int8"}})
    context = make_context(recipe, items.parent, migrate_and_open(Settings()), Silent())
    before = open_bundle(run_pipeline(make_pipeline(context, items.parent / "runs")).bundle)
    parity = before.manifest.metrics["parity"]
    assert parity["precision"] == "int8"
    assert parity["agreement@10"] > 0.9
    assert before.manifest.format_version == 4
    assert before.manifest.files["item_vectors.npy"].bytes < exact.manifest.files["item_vectors.npy"].bytes / 2
    after = open_bundle(add_items(before, read_items(items, before, Silent()), tmp_path, Silent()).bundle)
    assert after.manifest.format_version == 4
    assert before.item_vectors is not None
    assert after.item_vectors is not None
    np.testing.assert_array_equal(after.item_vectors[: before.manifest.n_items + 1], before.item_vectors)
    assert after.item_vectors[before.manifest.n_items + 1 :].any(axis=1).all()
    history = [np.array([1, 2, 3])]
    old_items, old_scores = before.scorer().top_k(history, before.manifest.n_items).row(0)
    new_items, new_scores = after.scorer().top_k(history, after.manifest.n_items).row(0)
    known = new_items <= before.manifest.n_items
    assert_same_ranking((new_items[known], new_scores[known]), (old_items, old_scores))


@pytest.mark.parametrize("share", [0.35, 0.4, 0.5])
def test_new_items_keep_to_their_share_of_the_places(world: tuple[Bundle, Path], tmp_path: Path, share: float) -> None:
    before, items = world
    added = add_items(before, read_items(items, before, Silent()), tmp_path, Silent(), share=share)
    after = open_bundle(added.bundle)
    shown = [item_id for request in after.golden for item_id in request.items]
    new = sum(item_id not in before.item_index for item_id in shown) / len(shown)
    assert len(after.golden) > 16
    assert share / 2 < new <= share
    assert added.share == pytest.approx(new)
    assert f"{added.share:.1%} of the first ten" in added.sentence()


def test_another_encoder_than_the_recipe_s_may_read_the_texts(world: tuple[Bundle, Path], tmp_path: Path) -> None:
    before, items = world
    one = add_items(before, read_items(items, before, Silent()), tmp_path, Silent())
    other = add_items(
        before, read_items(items, before, Silent()), tmp_path, Silent(), encoder="packaged-minilm + tfidf"
    )
    assert other.n_added == one.n_added
    assert other.fit > 0
    assert other.bundle != one.bundle


def test_the_missing_input_is_named(world: tuple[Bundle, Path], tmp_path: Path) -> None:
    before, items = world
    table = pl.read_csv(items)
    table.filter(pl.col("item_id").is_in(list(before.item_index.ids))).write_csv(tmp_path / "known.csv")
    with pytest.raises(DataError, match="nothing to add"):
        add_items(before, read_items(tmp_path / "known.csv", before, Silent()), tmp_path, Silent())
    table.filter(~pl.col("item_id").is_in(list(before.item_index.ids))).write_csv(tmp_path / "new.csv")
    with pytest.raises(DataError, match="give the texts of the known items"):
        add_items(before, read_items(tmp_path / "new.csv", before, Silent()), tmp_path, Silent())
    with pytest.raises(DataError, match="there is no file"):
        add_items(before, read_items(tmp_path / "none.csv", before, Silent()), tmp_path, Silent())


@pytest.mark.parametrize("limit_bytes", [0, 10**9])
def test_a_grown_graph_equals_one_exported_with_the_larger_table(limit_bytes: int) -> None:
    small, large = table_of(6), table_of(300)
    model = onnx.load_from_string(graph_of(small, limit_bytes))
    stored = grow_table(model, large)
    grown = Scorer(model.SerializeToString(), n_items=300, max_length=1, table=stored)
    born = scorer_of(large, limit_bytes)
    for item in (1, 200, 300):
        asked = [np.array([item])]
        for one, other in zip(grown.top_k(asked, 20).row(0), born.top_k(asked, 20).row(0), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_student_with_a_table_of_its_own_is_refused() -> None:
    table = table_of(6)
    model = onnx.load_from_string(graph_of(table, 10**9))
    next(node for node in model.graph.node if node.op_type == "Gather").input[0] = "items.weight"
    with pytest.raises(BundleError, match="no item can be added"):
        grow_table(model, table)


def test_the_first_new_item_is_read_as_an_item_by_a_student_with_a_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    student = bert4rec.Model(bert4rec.Config(embedding_dim=16, max_length=4, n_blocks=1), 20)
    table = item_vectors(student)
    grown = np.concatenate([table, table[3:4]])
    model = onnx.load_from_string(export_student(student))
    grow_table(model, grown)
    scorer = Scorer(model.SerializeToString(), n_items=21, max_length=4)
    nothing = [np.empty(0, np.int64)]
    twin, own = (scorer.top_k([np.array([1, item, 2])], 5, hidden=nothing) for item in (21, 3))
    np.testing.assert_allclose(twin.scores_BK, own.scores_BK, rtol=1e-5)
    # as it was exported before
    monkeypatch.setattr(bert4rec.Model, "mask_index", 21)
    with pytest.raises(BundleError, match="as a mask"):
        grow_table(onnx.load_from_string(export_student(student)), grown)


def test_items_are_read_with_the_recipe_s_separator_and_encoding(tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_bytes("item_id;title\na;Été\n".encode("latin-1"))
    for separator in (";", {"items": ";"}):
        options = {"separator": separator, "encoding": "latin-1"}
        manifest = SimpleNamespace(recipe={"data": {"source": "table", "options": options}})
        items = read_items(tmp_path / "new.csv", cast(Bundle, SimpleNamespace(manifest=manifest)), Silent())
        assert items.frame["title"].to_list() == ["Été"]
