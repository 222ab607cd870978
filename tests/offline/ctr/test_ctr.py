"""CTR models on synthetic users whose ratings only a profile explains: own knowledge helps, another user's does not."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from retort.offline.cli.measure import ctr_rows
from retort.offline.common.plugins import load_plugin
from retort.offline.common.progress import Silent
from retort.offline.ctr._parts import Fields
from retort.offline.ctr.config import CtrConfig
from retort.offline.ctr.data import CtrData, make_data
from retort.offline.ctr.kar import HybridExperts
from retort.offline.ctr.run import compare_models, read_ctr_file
from retort.offline.ctr.train import Outcome, ProfileReconstruction, train
from retort.offline.data.interactions import Interactions, Items
from retort.offline.data.split import Split, SplitConfig, make_split
from retort.offline.embeddings.vectors import Vectors
from retort.shared.base.errors import DataError, RecipeError, TeacherError, TrainingError
from retort.shared.db.migrate import upgrade
from retort.shared.db.session import open_database

N_USERS, N_ITEMS, N_EVENTS, WIDTH = 500, 300, 8, 8
CONFIG = CtrConfig(epochs=12, batch_size=128, learning_rate=3e-3, embedding_dim=8, layers=(32, 16), dropout=0.0)


def tables(seed: int = 0) -> tuple[Interactions, Items, Vectors, Vectors]:
    """Ratings that are high where the user's tastes and the item's nature agree; the vectors hold both."""
    random = np.random.default_rng(seed)
    tastes, natures = (random.choice([-1.0, 1.0], (count, WIDTH)) for count in (N_USERS, N_ITEMS))
    users = np.repeat(np.arange(N_USERS), N_EVENTS)
    items = np.concatenate([random.choice(N_ITEMS, N_EVENTS, replace=False) for _ in range(N_USERS)])
    agree = (tastes[users, :2] * natures[items, :2]).sum(1) + 0.1 * random.standard_normal(len(users))
    frame = pl.DataFrame(
        {
            "user_id": [f"u{user:03}" for user in users],
            "item_id": [f"i{item:03}" for item in items],
            "timestamp": np.tile(np.arange(N_EVENTS), N_USERS),
            "weight": np.where(agree > 0, 5.0, 2.0).astype(np.float32),
        }
    )
    ids = [f"i{item:03}" for item in range(N_ITEMS)]
    genres = [["a"] if item % 2 else ["a", "b"] for item in range(N_ITEMS)]
    item_frame = pl.DataFrame({"item_id": ids, "title": ids, "text": ids, "genres": genres, "url": ids})
    vectors = Vectors([f"u{user:03}" for user in range(N_USERS)], tastes.astype(np.float32))
    return Interactions(frame, "time"), Items(item_frame), vectors, Vectors(ids, natures.astype(np.float32))


def make_test_split(interactions: Interactions, train_share: float = 0.7) -> Split:
    return make_split(interactions, SplitConfig(train_share=train_share), "held")


@pytest.fixture(scope="module")
def data() -> CtrData:
    interactions, items, profiles, texts = tables()
    return make_data(make_test_split(interactions), interactions, items, profiles, texts, profiles, 4.0)


@pytest.mark.parametrize("model", ["deepfm", "dcn_v2"])
def test_knowledge_of_the_right_user_helps_and_that_of_another_does_not(model: str, data: CtrData) -> None:
    auc = {arm: train(model, arm, 0, data, CONFIG).auc for arm in ("base", "kar", "kar_shuffled")}  # type: ignore[arg-type]
    assert auc["kar"] > auc["base"] + 0.1
    assert auc["kar_shuffled"] < auc["base"] + 0.03


def test_profile_objective_is_learned_and_is_no_part_of_the_model_that_predicts(data: CtrData) -> None:
    base, taught = (train("deepfm", arm, 0, data, CONFIG) for arm in ("base", "taught"))  # type: ignore[arg-type]
    assert base.n_parameters == taught.n_parameters
    assert base.auc != taught.auc
    torch.manual_seed(0)
    model = load_plugin("retort.offline.ctr", "deepfm").Model(CONFIG, Fields(data, CONFIG.embedding_dim, None))
    objective = ProfileReconstruction(data, CONFIG)
    optimizer = torch.optim.Adam([*model.parameters(), *objective.parameters()], lr=1e-2)
    users_B, items_B = torch.from_numpy(data.train.users[:256]), torch.from_numpy(data.train.items[:256])
    losses = []
    for _ in range(60):
        loss = objective(torch.zeros(()), model(users_B, items_B)[1], users_B)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_profile_objective_is_the_weighted_sum_with_the_distance_of_its_mode(data: CtrData) -> None:
    users_B, hidden_BH, own = torch.tensor([1, 2, 3]), torch.randn(3, 16), torch.tensor(0.7)
    profiles_BP = torch.from_numpy(data.targets.vectors)[users_B]
    known_UP = torch.from_numpy(data.targets.vectors[data.targets.present])
    standard_BP = (profiles_BP - known_UP.mean(0)) / known_UP.std(0, correction=0)
    repaired = ProfileReconstruction(data, CONFIG.model_copy(update={"teaching_weight": 0.8}))
    distance = (repaired.project(hidden_BH) - standard_BP).square().mean().sqrt()
    torch.testing.assert_close(repaired(own, hidden_BH, users_B), 0.2 * own + 0.8 * distance, rtol=1e-4, atol=1e-5)
    faithful = ProfileReconstruction(data, CONFIG.model_copy(update={"teaching_weight": 0.8}), faithful=True)
    assert not list(faithful.parameters()), "the published projection is not learned"
    distance = (hidden_BH[:, :WIDTH] - profiles_BP).square().mean().sqrt()
    torch.testing.assert_close(faithful(own, hidden_BH, users_B), 0.2 * own + 0.8 * distance)
    with pytest.raises(TeacherError, match="8 wide, the last layer only 4"):
        ProfileReconstruction(data, CONFIG.model_copy(update={"layers": (8, 4)}), faithful=True)


def test_profile_objective_is_active_in_the_first_half_of_the_epochs(
    data: CtrData, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_sizes: list[int] = []
    forward = ProfileReconstruction.forward

    def count_and_forward(
        self: ProfileReconstruction, own: torch.Tensor, hidden_BH: torch.Tensor, users_B: torch.Tensor
    ) -> torch.Tensor:
        batch_sizes.append(len(users_B))
        return forward(self, own, hidden_BH, users_B)

    monkeypatch.setattr(ProfileReconstruction, "forward", count_and_forward)
    for arm in ("taught", "taught_faithful"):
        batch_sizes.clear()
        train("deepfm", arm, 0, data, CONFIG.model_copy(update={"epochs": 5}))  # type: ignore[arg-type]
        assert sum(batch_sizes) == 2 * len(data.train)


def test_deepfm_multiplies_every_pair_of_fields(data: CtrData) -> None:
    torch.manual_seed(0)
    model = (
        load_plugin("retort.offline.ctr", "deepfm").Model(CONFIG, Fields(data, 8, HybridExperts(data, 8, 1, 1))).eval()
    )
    users_B, items_B = torch.tensor([1, 2]), torch.tensor([3, 4])
    x_BFD = model.fields(users_B, items_B)
    assert x_BFD.shape[1] == 5  # user, item, genres, and knowledge of both
    pairs_B = sum((x_BFD[:, i] * x_BFD[:, j]).sum(-1) for i in range(5) for j in range(i))
    rest_B = (model.first(x_BFD.flatten(1)) + model.join(model.deep(x_BFD.flatten(1))))[:, 0]
    torch.testing.assert_close(model(users_B, items_B)[0], pairs_B + rest_B)


def test_dcn_v2_multiplies_the_first_input_with_each_cross_layer(data: CtrData) -> None:
    torch.manual_seed(0)
    model = load_plugin("retort.offline.ctr", "dcn_v2").Model(CONFIG, Fields(data, 8, None)).eval()
    users_B, items_B = torch.tensor([1, 2]), torch.tensor([3, 4])
    start_BW = crossed_BW = model.fields(users_B, items_B).flatten(1)
    for layer in model.cross:
        crossed_BW = start_BW * (crossed_BW @ layer.weight.T + layer.bias) + crossed_BW
    joined_B = model.join(torch.cat([crossed_BW, model.deep(start_BW)], 1))[:, 0]
    torch.testing.assert_close(model(users_B, items_B)[0], joined_B)
    assert len(model.cross) == CONFIG.n_cross


def test_kar_mixes_shared_and_own_experts_by_a_gate(data: CtrData) -> None:
    torch.manual_seed(0)
    experts = HybridExperts(data, 4, n_shared=2, n_own=1)
    users_B, items_B = torch.tensor([1, 2]), torch.tensor([3, 4])
    known_BE = experts.items_IE[items_B]
    shares_BX = experts.gate_items(known_BE).softmax(-1)
    each = [expert(known_BE) for expert in (*experts.shared, *experts.of_items)]
    expected = sum(shares_BX[:, [x]] * output for x, output in enumerate(each))
    torch.testing.assert_close(experts(users_B, items_B)[1], expected)


def test_predictions_that_overflow_name_the_epoch(data: CtrData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retort.offline.ctr.train.predict", lambda _, rows: np.full(len(rows), np.nan))
    config = CONFIG.model_copy(update={"epochs": 1})
    with pytest.raises(TrainingError, match=r"epoch 1: the predictions hold NaN; lower \[ctr\] learning_rate"):
        train("deepfm", "base", 1, data, config)


def test_training_is_reproducible(data: CtrData) -> None:
    config = CONFIG.model_copy(update={"epochs": 2})
    assert train("dcn_v2", "kar", 3, data, config) == train("dcn_v2", "kar", 3, data, config)


def test_each_users_events_are_divided_in_time_order_and_train_is_the_splits(data: CtrData) -> None:
    interactions, *_ = tables()
    # of 8 events the last is the split's test; 70 % of the 6 before its validation event are 5 for train, then 1 and 2
    assert [len(data.train), len(data.validation), len(data.test)] == [5 * N_USERS, N_USERS, 2 * N_USERS]
    assert len(data.train) == len(make_test_split(interactions).train.values)
    first = interactions.frame.filter(pl.col("user_id") == "u000")
    of_first = [rows.items[rows.users == 1] for rows in (data.train, data.validation, data.test)]
    assert [f"i{item - 1:03}" for item in np.concatenate(of_first)] == first["item_id"].to_list()
    labels = np.concatenate([rows.labels[rows.users == 1] for rows in (data.train, data.validation, data.test)])
    assert labels.tolist() == (first["weight"] >= 4).cast(pl.Float32).to_list()


def test_items_without_train_events_are_unknown_and_attributes_are_shared_values(data: CtrData) -> None:
    seen = set(data.train.items.tolist())
    assert {row for row in range(1, N_ITEMS + 1) if data.fields_IL[0][row, 0]} == seen
    assert len(data.fields_IL) == 2  # a url identifies its item
    assert data.fields_IL[1].shape == (N_ITEMS + 1, 2)
    assert data.fields_IL[1][0].tolist() == [0, 0]


def test_users_and_items_without_knowledge_give_zero_vectors() -> None:
    interactions, items, profiles, texts = tables()
    some = Vectors(profiles.ids[1:], profiles.vectors[1:])
    data = make_data(make_test_split(interactions), interactions, items, some, texts, some, 4.0)
    outputs = HybridExperts(data, 4, 1, 1)(torch.tensor([1, 2]), torch.tensor([0, 5]))
    assert [bool(row.any()) for vectors in outputs for row in vectors] == [False, True, False, True]
    own = torch.tensor(0.7)
    assert ProfileReconstruction(data, CONFIG)(own, torch.zeros(1, 16), torch.tensor([1])) == own


def test_shuffled_knowledge_belongs_to_other_users(data: CtrData) -> None:
    other = data.shuffled(0)
    assert sorted(map(tuple, other.users.vectors.tolist())) == sorted(map(tuple, data.users.vectors.tolist()))
    assert (other.users.vectors != data.users.vectors).any(1)[1:].mean() > 0.9


def test_data_without_labels_or_with_different_encoders_are_refused() -> None:
    interactions, items, profiles, texts = tables()
    split = make_test_split(interactions)
    with pytest.raises(DataError, match="positive_from"):
        make_data(split, interactions, items, profiles, texts, profiles, 1.0)
    unknown = Interactions(interactions.frame.with_columns(weight=pl.lit(None, dtype=pl.Float32)), "time")
    with pytest.raises(DataError, match="column of ratings"):
        make_data(split, unknown, items, profiles, texts, profiles, 4.0)
    narrow = Vectors(texts.ids, texts.vectors[:, :3])
    with pytest.raises(TeacherError, match="one \\[encoder\\]"):
        make_data(split, interactions, items, profiles, narrow, profiles, 4.0)


def test_a_comparison_runs_end_to_end_and_is_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interactions, items, *_ = tables()
    interactions.frame.head(160).write_parquet(tmp_path / "ratings.parquet")
    items.frame.drop("url", "text").write_parquet(tmp_path / "items.parquet")
    small = tmp_path / "small.toml"
    small.write_text(
        'extends = "llmkt_ml1m_simplex"\n[data]\nsource = "table"\nmin_weight = 0.0\n[data.options]\n'
        'interactions = "ratings.parquet"\nitems = "items.parquet"\nuser_id = "user_id"\nitem_id = "item_id"\n'
        'timestamp = "timestamp"\ntime_unit = "s"\nweight = "weight"\n'
        '[profiles]\nbackend = "template"\n[encoder]\nmodel = "packaged-minilm"\nmax_tokens = 16\n'
        'long_texts = "truncate"\n[reducer]\nmethod = "pca"\nn_components = 4\n'
        '[ctr]\nmodels = ["deepfm"]\narms = ["base", "kar"]\nepochs = 1\nseeds = [0, 1]\n',
        encoding="utf-8",
    )
    recipe, config = read_ctr_file(str(small), {})
    url = f"sqlite:///{tmp_path / 'retort.db'}"
    upgrade(url)
    engine = open_database(url)
    outcomes = compare_models(recipe, config, tmp_path, engine, Silent(), tmp_path / "runs")
    assert [(outcome.model, outcome.arm, outcome.seed) for outcome in outcomes] == [
        ("deepfm", arm, seed) for arm in ("base", "kar") for seed in (0, 1)
    ]
    monkeypatch.setattr("retort.offline.ctr.run.train", None)  # a finished comparison is read, not repeated
    assert compare_models(recipe, config, tmp_path, engine, Silent(), tmp_path / "runs") == outcomes
    engine.dispose()


def test_table_compares_each_arm_with_its_base() -> None:
    outcomes = [
        Outcome("deepfm", arm, seed, 1, 0.6, auc, 0.5, 10)
        for arm, aucs in (("base", (0.5, 0.6)), ("kar", (0.7, 0.6)))
        for seed, auc in enumerate(aucs)
    ]
    base, kar = ctr_rows(outcomes)
    assert [(base["auc"], base["auc_±"]), (kar["auc"], kar["auc_±"])] == [
        (pytest.approx(0.55), pytest.approx(0.6353, abs=5e-5)),
        (pytest.approx(0.65), pytest.approx(0.6353, abs=5e-5)),
    ]
    # paired by seed: +.2 and 0
    assert (base["to_base"], base["to_base_±"]) == (0.0, 0.0)
    assert (kar["to_base"], kar["to_base_±"]) == (pytest.approx(0.1), pytest.approx(1.2706, abs=5e-5))
    (single,) = ctr_rows([outcomes[0]])
    assert (single["auc"], single["auc_±"]) == (0.5, None)


def test_shipped_comparisons_are_read_and_a_plain_recipe_is_refused() -> None:
    recipe, config = read_ctr_file("ml1m", {"ctr.epochs": 2})
    assert (recipe.data.min_weight, recipe.split.train_share, config.epochs) == (0.0, 0.7, 2)
    small, _ = read_ctr_file("ml100k", {})
    assert (small.data.source, small.data.min_weight, small.split.train_share) == ("recbole", 0.0, 0.7)
    with pytest.raises(RecipeError, match="no objective"):
        read_ctr_file("ml1m_sasrec_plain", {})
