"""Shipped recipes and defaults say what the papers and their code say: their tables, copied here once more by hand."""

import pytest

from retort.offline.distillation import profile, ranking
from retort.offline.recipes.recipe import Recipe, load_recipe
from retort.offline.recipes.recipe_files import shipped_recipes
from retort.offline.teachers.config import ItemHeadConfig, TitleGenerationConfig

# ECIR 2026, experiments/configs/datasets: width, blocks, heads, dropout, rate, batch, epochs, first epoch of
# fine-tuning, α, whether β, loss, pooling, layer as they count it, components of the map (0: none)
ECIR26 = {
    "beauty_sasrec": (128, 4, 2, 0.3, 5e-4, 256, 25, 12, 0.4, True, "mse", "mean", 3, 128),
    "beauty_bert4rec": (128, 4, 2, 0.3, 5e-4, 256, 60, 20, 0.4, True, "mse", "mean", 3, 128),
    "ml20m_sasrec": (256, 4, 4, 0.2, 7.5e-4, 256, 200, 30, 0.8, False, "mse", "exponential", 1, 256),
    "ml20m_bert4rec": (256, 4, 2, 0.2, 7.5e-4, 256, 100, 20, 0.8, False, "mse", "exponential", 3, 256),
    "kion_sasrec": (64, 4, 4, 0.3, 5e-4, 256, 30, 8, 0.65, True, "rmse", "mean", 3, 64),
    "kion_bert4rec": (64, 4, 2, 0.3, 1e-4, 256, 30, 20, 0.6, False, "mse", "mean", 3, 64),
    "m2_sasrec": (64, 2, 8, 0.2, 5e-4, 128, 30, 10, 0.8, False, "rmse", "exponential", 1, 0),
    "m2_bert4rec": (64, 2, 8, 0.3, 5e-4, 128, 100, 50, 0.6, True, "rmse", "exponential", 1, 0),
}


@pytest.mark.parametrize("name", ECIR26)
def test_ecir26_is_configured_as_shipped(name: str) -> None:
    recipe = load_recipe(f"ecir26_{name}")
    objective, training = recipe.objectives[0], recipe.training
    assert isinstance(objective, profile.Config)
    assert objective.last_epoch is not None
    said = recipe.student.model_dump()
    # their BERT4Rec counts what the first block reads as layer 0
    layer = objective.block + 1 if name.endswith("bert4rec") else objective.block
    n_components = recipe.reducer.n_components if recipe.reducer.method == "umap" else 0
    found = (
        said["embedding_dim"], said["n_blocks"], said["n_heads"], said["dropout"], training.learning_rate,
        training.batch_size, training.epochs, objective.last_epoch + 1, objective.weight, objective.match_scale,
        objective.loss, objective.pooling, layer, n_components,
    )  # fmt: skip
    assert found == ECIR26[name]
    assert (objective.mode, objective.share, objective.gamma, objective.first_epoch) == ("faithful", True, 0.1, 1)
    assert objective.down_scale == (name != "ml20m_bert4rec")
    assert (said["max_length"], training.seed, training.loss) == (50, 42, "full_softmax")
    assert (training.weight_decay, training.clip_norm, training.rate) == (0.01, 0.5, "constant")
    assert (training.every_window, recipe.evaluation.hide_seen, recipe.encoder.prefix) == (False, False, "")
    assert said.get("mask_share", 0.15) == 0.15
    if recipe.split.method == "global_time":
        assert (recipe.split.quantile, recipe.split.target, recipe.split.validation_users) == (0.8, "last", 0.2)


def _of(paper: str) -> list[Recipe]:
    return [load_recipe(name) for name in shipped_recipes() if name.startswith(f"{paper}_")]


def test_llmkt_teaches_in_the_first_half_towards_a_map_of_64() -> None:
    recipes = _of("llmkt")
    assert len(recipes) == 6
    for recipe in recipes:
        training, said = recipe.training, recipe.objectives[0].model_dump()
        assert training.epochs >= 70
        assert said["last_epoch"] == training.epochs // 2
        assert (said["name"], said["mode"], said["loss"], said["share"]) == ("feature", "faithful", "rmse", True)
        assert said["width"] == recipe.reducer.n_components == 64
        assert (recipe.reducer.method, recipe.data.min_weight) == ("umap", 3.0)
        batch_size = 72 if recipe.name == "llmkt_ml1m_multvae" else 64
        assert (training.learning_rate, training.batch_size, training.patience) == (0.01, batch_size, 50)
        heavy = recipe.student_name == "multvae" or recipe.name == "llmkt_cds_simplex"
        assert said["weight"] == (0.8 if heavy else 0.5)
    students = {recipe.name: recipe.student.model_dump() for recipe in recipes}
    neumf, multvae = students["llmkt_ml1m_neumf"], students["llmkt_ml1m_multvae"]
    assert (neumf["embedding_dim"] - neumf["read_dim"], neumf["read_dim"]) == (64, 512)
    assert (neumf["layers"], neumf["dropout"]) == ((256, 128, 64), 0.1)
    assert (multvae["latent_dim"], multvae["embedding_dim"], multvae["dropout"], multvae["kl_cap"]) == (
        128, 600, 0.5, 0.2,
    )  # fmt: skip


def test_dllm2rec_has_the_papers_weights_and_its_codes_student() -> None:
    defaults = ranking.Config(name="ranking")
    assert (defaults.k, defaults.position_scale) == (10, 1.0)
    assert (defaults.gamma_position, defaults.gamma_confidence, defaults.gamma_consistency) == (0.3, 0.5, 0.1)
    for recipe in _of("dllm2rec"):
        if recipe.name.startswith("dllm2rec_beauty"):
            continue  # not theirs: in the house's own protocol
        training, said = recipe.training, recipe.student.model_dump()
        assert (training.loss, training.learning_rate, training.batch_size) == ("bce", 1e-3, 256)
        assert training.weight_decay in (1e-4, 1e-5, 1e-6, 1e-7, 0.0)
        assert (said["embedding_dim"], said["max_length"], said["dropout"]) == (64, 10, 0.1)
        assert said["n_blocks"] == 1
        assert said.get("n_heads", 1) == 1
        assert {one.name: one.weight for one in recipe.objectives} == {"embedding": 0.3, "ranking": 0.7}
        assert {one.model_dump()["mode"] for one in recipe.objectives} == {"faithful"}
        assert (recipe.evaluation.k[0], recipe.evaluation.hide_seen) == (20, False)
        assert (recipe.split.method, recipe.split.quantile, recipe.split.max_history) == ("global_time", 0.9, 10)


def test_language_models_are_tuned_as_bigrec_and_e4srec_tune_them() -> None:
    bigrec, e4srec = TitleGenerationConfig(), ItemHeadConfig()
    assert (bigrec.lora_rank, bigrec.lora_alpha, bigrec.lora_dropout) == (8, 16, 0.05)
    assert bigrec.lora_layers == ("q_proj", "v_proj")
    assert (bigrec.learning_rate, bigrec.rows, bigrec.epochs, bigrec.history) == (1e-4, 1024, 50, 10)
    assert (e4srec.lora_rank, e4srec.lora_alpha, e4srec.lora_dropout) == (16, 16, 0.05)
    assert e4srec.lora_layers == ("gate_proj", "down_proj", "up_proj")
    assert (e4srec.learning_rate, e4srec.epochs, e4srec.batch_size, e4srec.warmup_steps) == (3e-4, 3, 16, 100)
    assert (e4srec.history, e4srec.model) == (50, "Qwen/Qwen1.5-0.5B")


def test_llmd4rec_runs_three_loops_and_both_modes_differ_in_nothing_else() -> None:
    recipes = {recipe.name: recipe for recipe in _of("llmd4rec")}
    for name, recipe in recipes.items():
        assert recipe.teacher.lists == "mutual"
        assert 3 <= recipe.teacher.mutual.loops <= 5
        twin = recipes.get(f"{name}_faithful")
        if twin is not None:
            assert twin.teacher.mutual == recipe.teacher.mutual.model_copy(update={"mode": "faithful"})
            assert (twin.student, twin.training, twin.split) == (recipe.student, recipe.training, recipe.split)
            assert [one.model_dump() | {"mode": "repaired"} for one in twin.objectives] == [
                one.model_dump() for one in recipe.objectives
            ]
