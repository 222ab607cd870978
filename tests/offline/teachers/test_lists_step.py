"""The lists are a step of their own: made once a split, shared by all trainings, remade when their files change."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import create_engine

from retort.offline.common.progress import Silent
from retort.offline.pipeline.build import make_pipeline
from retort.offline.pipeline.context import TRAINING_FILE, RunContext
from retort.offline.recipes.recipe import load_recipe
from retort.shared.base.errors import TeacherError
from retort.shared.base.settings import LanguageModelSettings

TINY = str(Path(__file__).parents[2] / "tiny.toml")
TAUGHT = (
    "objectives=[{name='mutual', weight=0.3}]",
    "teacher.lists=text_encoder",
    "teacher.text_encoder.epochs=1",
    "training.epochs=1",
)


def load_pipeline(out: Path, *more: str, data: Path | None = None) -> Any:
    settings = LanguageModelSettings(_env_file=None)  # type: ignore[call-arg]
    recipe = load_recipe(TINY, [*TAUGHT, *more])
    return make_pipeline(RunContext(recipe, data, create_engine("sqlite://"), settings, Silent()), out)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("lists")
    load_pipeline(where).ensure("refit")
    return where


def test_each_split_has_its_lists_and_all_trainings_share_them(out: Path) -> None:
    first, other = load_pipeline(out), load_pipeline(out, "training.seed=7", "student.embedding_dim=8")
    names = list(first.steps)
    assert names.index("lists") < names.index("train")
    assert names.index("lists_refit") < names.index("refit")
    assert other.ensure("lists").skipped
    assert other.ensure("lists").path == first.ensure("lists").path
    held, refit = (pl.read_parquet(first.ensure_path(step) / "rankings.parquet") for step in ("lists", "lists_refit"))
    assert len(refit) == len(held) + held["user_id"].n_unique()  # the validation event is asked too


def test_a_teacher_with_other_settings_makes_new_lists(out: Path) -> None:
    pipeline = load_pipeline(out, "teacher.text_encoder.k=5")
    assert not pipeline.ensure("lists").skipped
    assert pipeline.ensure("items").skipped


def test_a_plain_run_has_no_lists(out: Path) -> None:
    assert "lists" not in load_pipeline(out, "objectives=[]").steps


def test_given_lists_need_no_step_and_other_files_cause_a_new_training(out: Path, tmp_path: Path) -> None:
    import shutil

    given = tmp_path / "data" / "given"
    shutil.copytree(load_pipeline(out).ensure_path("lists"), given)
    knobs = ("teacher.lists=file", "teacher.lists_path=given", "protocol=held")
    pipeline = load_pipeline(out, *knobs, data=tmp_path / "data")
    assert "lists" not in pipeline.steps
    assert (pipeline.ensure_path("train") / TRAINING_FILE).exists()
    assert load_pipeline(out, *knobs, data=tmp_path / "data").ensure("train").skipped
    table = pl.read_parquet(given / "rankings.parquet")
    table.head(len(table) // 2).write_parquet(given / "rankings.parquet")
    assert not load_pipeline(out, *knobs, data=tmp_path / "data").ensure("train").skipped


def test_missing_lists_are_reported(out: Path, tmp_path: Path) -> None:
    pipeline = load_pipeline(out, "teacher.lists=file", "teacher.lists_path=nowhere", data=tmp_path)
    with pytest.raises(TeacherError, match="nowhere has neither"):
        pipeline.ensure("train")
