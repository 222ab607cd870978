"""Each teacher as a recipe names it, from raw data to a trained student, in both modes."""

from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from retort.offline.data.split_store import load_split
from retort.offline.embeddings.vectors import read_vectors
from retort.offline.pipeline.context import STUDENT_FILE, TRAINING_FILE, VECTORS_FILE
from retort.offline.recipes.recipe import load_recipe
from retort.offline.recipes.recipe_files import shipped_recipes
from retort.offline.teachers._language_model import template
from retort.shared.base.errors import RecipeError, TeacherError
from tests.offline.teachers._tiny_llama import make_tiny_llama
from tests.offline.teachers.test_lists_step import load_pipeline

QUICK = ("protocol=held", "teacher.text_encoder.epochs=1", "teacher.mutual.student_epochs=1", "teacher.mutual.loops=2")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("line")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    make_tiny_llama(folder, [template("title_generation"), template("item_head"), "The Iron Garden Storm II"], width=32)
    return folder


def training_log(pipeline: Any) -> dict[str, Any]:
    log: dict[str, Any] = orjson.loads((pipeline.ensure_path("train") / TRAINING_FILE).read_bytes())
    return log


@pytest.mark.parametrize("mode", ["repaired", "faithful"])
@pytest.mark.parametrize("teacher", ["text_encoder", "item_head"])
def test_mutual_distillation_runs_in_both_modes_and_leaves_a_plain_student(
    out: Path, model: Path, teacher: str, mode: str
) -> None:
    knobs = (
        "teacher.lists=mutual",
        f"teacher.mutual.teacher={teacher}",
        f"teacher.mutual.mode={mode}",
        f"objectives=[{{name='mutual', weight=0.3, mode='{mode}'}}]",
        f"teacher.item_head.model={model}",
        "teacher.item_head.epochs=1",
        "teacher.item_head.rows=64",
    )
    pipeline = load_pipeline(out, *QUICK, *knobs)
    assert training_log(pipeline)["log"][0]["objectives"]["mutual"] > 0
    outputs = pl.read_parquet(pipeline.ensure_path("lists") / "distributions.parquet")
    assert (outputs["listener_rank"] >= 1).all()
    plain = load_pipeline(out, *QUICK, "objectives=[]")
    shapes = [
        {name: weight.shape for name, weight in load_file(one.ensure_path("train") / STUDENT_FILE).items()}
        for one in (pipeline, plain)
    ]
    assert shapes[0] == shapes[1]
    assert ("items" in pipeline.steps) == (teacher == "text_encoder")


def test_mutual_distillation_is_shared_by_all_seeds_and_budgets_of_the_student(out: Path) -> None:
    knobs = ("teacher.lists=mutual", "objectives=[{name='mutual', weight=0.3}]")
    first = load_pipeline(out, *QUICK, *knobs)
    first.ensure("lists")
    assert load_pipeline(out, *QUICK, *knobs, "training.seed=7", "training.epochs=3").ensure("lists").skipped
    for other in ("teacher.mutual.seed=7", "training.learning_rate=0.01", "student.embedding_dim=8"):
        assert not load_pipeline(out, *QUICK, *knobs, other).ensure("lists").skipped, other
    outputs = [
        pl.read_parquet(
            load_pipeline(out, *QUICK, *knobs, f"teacher.mutual.seed={seed}").ensure_path("lists")
            / "distributions.parquet"
        )
        for seed in (0, 7)
    ]
    assert not outputs[0].equals(outputs[1])


def test_mutual_distillation_gives_ranked_lists_too(out: Path) -> None:
    """DLLM2Rec's parts and LLMD4Rec's beside each other: one teacher, three objectives."""
    combined = (
        "objectives=[{name='embedding', weight=0.15}, {name='ranking', weight=0.1}, {name='mutual', weight=0.3}]",
        "teacher.lists=mutual",
    )
    pipeline = load_pipeline(out, *QUICK, *combined)
    losses = training_log(pipeline)["log"][0]["objectives"]
    assert losses["ranking"] > 0
    assert losses["mutual"] > 0
    assert pipeline.ensure("lists").skipped


def test_language_models_teach_by_ranked_lists(out: Path, model: Path) -> None:
    for lists in ("item_head", "grounding"):
        pipeline = load_pipeline(
            out,
            *QUICK,
            "objectives=[{name='ranking', weight=0.3, positions='last'}]",
            f"teacher.lists={lists}",
            f"teacher.{lists}.model={model}",
            f"teacher.{lists}.epochs=1",
            f"teacher.{lists}.rows=32",
            "teacher.grounding.max_new_tokens=3",
        )
        assert training_log(pipeline)["log"][0]["objectives"]["ranking"] > 0


def test_item_vectors_of_a_tuned_encoder_start_the_table_and_lists_do_not_read_them(out: Path) -> None:
    knobs = ("teacher.items=tuned", "teacher.tuned_encoder.rows=16", "teacher.tuned_encoder.max_tokens=12")
    pipeline = load_pipeline(out, *QUICK, *knobs, "objectives=[{name='text_start'}]")
    assert "items" not in pipeline.steps
    training_log(pipeline)
    both = load_pipeline(out, *QUICK, *knobs, "objectives=[{name='text_start'}, {name='mutual', weight=0.1}]")
    assert {"items", "tuned_items"} <= set(both.steps)
    assert both.steps["lists"].needs == ("split", "data", "items")
    tuned, encoded = (
        read_vectors(both.ensure_path(step) / VECTORS_FILE, "item_id") for step in ("tuned_items", "items")
    )
    assert tuned.vectors.shape[1] == encoded.vectors.shape[1]
    assert abs(tuned.vectors[0] - encoded.vectors[encoded.ids.index(tuned.ids[0])]).max() > 1e-3


@pytest.mark.parametrize("mode", ["repaired", "faithful"])
def test_published_teacher_files_train_a_student(out: Path, tmp_path: Path, mode: str) -> None:
    split = load_split(load_pipeline(out, *QUICK).ensure_path("split"))
    publish(tmp_path / "dllm2rec", split)
    given = (
        f"objectives=[{{name='embedding', mode='{mode}'}}, "
        f"{{name='ranking', mode='{mode}', weight=0.3, gamma_confidence=0.0}}]",
        "teacher.items=published",
        "teacher.items_path=dllm2rec",
        "teacher.lists=published",
        "teacher.lists_path=dllm2rec",
    )
    pipeline = load_pipeline(out, *QUICK, *given, data=tmp_path)
    assert "lists" not in pipeline.steps
    assert training_log(pipeline)["log"][0]["objectives"]["ranking"] > 0
    assert read_vectors(pipeline.ensure_path("items") / VECTORS_FILE, "item_id").ids == list(split.item_index.ids)
    torch.save(torch.randn(len(split.item_index), 6), tmp_path / "dllm2rec" / "all_embeddings.pt")
    assert not load_pipeline(out, *QUICK, *given, data=tmp_path).ensure("items").skipped


def publish(folder: Path, split: Any) -> None:
    """Lists about each user's newest event, as DLLM2Rec's own files hold them."""
    folder.mkdir()
    n_items, users = len(split.item_index), [u for u in range(len(split.train)) if len(split.train[u]) > 1]
    torch.manual_seed(0)
    torch.save(torch.randn(n_items, 6), folder / "all_embeddings.pt")
    (folder / "items.csv").write_text("item_id\n" + "\n".join(split.item_index.ids) + "\n")
    rows = [f"{split.user_ids[user]},{len(split.train[user]) - 1}" for user in users]
    (folder / "instances.csv").write_text("user_id,position\n" + "\n".join(rows) + "\n")
    ranks = torch.stack([torch.randperm(n_items)[:10] for _ in users])
    (folder / "myrank_train.txt").write_text("\n".join(" ".join(map(str, row)) for row in ranks.tolist()) + "\n")
    distances = torch.rand(len(users), 10).sort(dim=1).values
    (folder / "confidence_train.txt").write_text(
        "\n".join(" ".join(map(str, row)) for row in distances.tolist()) + "\n"
    )


def test_given_items_without_a_path_are_refused(out: Path) -> None:
    pipeline = load_pipeline(out, *QUICK, "objectives=[{name='text_start'}]", "teacher.items=file")
    with pytest.raises(TeacherError, match="needs items_path"):
        pipeline.ensure("items")


def test_the_shipped_recipes_of_both_papers_name_what_they_need() -> None:
    named = [name for name in shipped_recipes() if name.startswith(("llmd4rec", "dllm2rec"))]
    assert {"llmd4rec_beauty_sasrec", "dllm2rec_beauty_sasrec_published"} <= set(named)
    for name in named:
        recipe = load_recipe(name)
        assert "lists" in recipe.teacher_parts()
        assert recipe.teacher.lists != "none"


def test_ready_vectors_of_users_train_a_student_without_profiles(out: Path, tmp_path: Path) -> None:
    split = load_split(load_pipeline(out, *QUICK).ensure_path("split"))
    torch.manual_seed(0)
    vectors = torch.randn(len(split.user_ids), 6).tolist()
    pl.DataFrame({"user_id": list(split.user_ids), "vector": vectors}).write_parquet(tmp_path / "users.parquet")
    given = (
        "objectives=[{name='profile'}]",
        "teacher.users=file",
        "teacher.users_path=users.parquet",
        "reducer.method=none",
    )
    pipeline = load_pipeline(out, *QUICK, *given, data=tmp_path)
    assert "profiles" not in pipeline.steps
    assert training_log(pipeline)["log"][0]["objectives"]["profile"] > 0
    assert read_vectors(pipeline.ensure_path("teacher") / VECTORS_FILE).vectors.shape == (len(vectors), 6)
    vectors.reverse()
    pl.DataFrame({"user_id": list(split.user_ids), "vector": vectors}).write_parquet(tmp_path / "users.parquet")
    assert not load_pipeline(out, *QUICK, *given, data=tmp_path).ensure("vectors").skipped
    with pytest.raises(TeacherError, match="needs users_path"):
        load_pipeline(out, *QUICK, given[0], given[1]).ensure("vectors")
    for key in ("teacher.weights.by=grounding", "encoder.shards=2"):
        with pytest.raises(RecipeError, match='users = "file"'):
            load_pipeline(out, *QUICK, *given, key)


def test_item_vectors_in_the_directions_of_co_occurrence_start_the_table(out: Path) -> None:
    knobs = ("teacher.items=co_occurrence", "teacher.co_occurrence.width=5", "encoder.model=tfidf")
    pipeline = load_pipeline(out, *QUICK, *knobs, "objectives=[{name='text_start', whiten=0.0}]")
    training_log(pipeline)
    mapped = read_vectors(pipeline.ensure_path("mapped_items") / VECTORS_FILE, "item_id")
    encoded = read_vectors(pipeline.ensure_path("items") / VECTORS_FILE, "item_id")
    assert mapped.ids == encoded.ids
    assert mapped.vectors.shape[1] == 5
