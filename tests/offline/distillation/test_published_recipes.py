"""Every shipped recipe of a paper's own data sets trains, on a small made-up file in that layout."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from retort.offline.common.progress import Silent
from retort.offline.pipeline.build import make_pipeline
from retort.offline.pipeline.context import TRAINING_FILE, RunContext
from retort.offline.recipes.recipe import Recipe, load_recipe
from retort.offline.recipes.recipe_files import shipped_recipes
from retort.shared.base.settings import LanguageModelSettings
from retort.shared.db.migrate import upgrade
from retort.shared.db.session import open_database
from tests.offline.distillation._layouts import WRITERS

NAMES = [name for name in shipped_recipes() if name.startswith(("ecir26_", "llmkt_"))]
BY_LISTS = [name for name in shipped_recipes() if name.startswith(("dllm2rec_", "llmd4rec_")) and "beauty" not in name]
# only what makes it small: the method stays the recipe's
SMALL = (
    "profiles.backend=template",
    "encoder.model=tfidf",
    "reducer.method=pca",
    "training.epochs=2",
    "training.batch_size=16",
    "objectives.0.last_epoch=1",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recipes of one data set share their first steps."""
    return tmp_path_factory.mktemp("published")


def test_every_data_set_of_the_papers_has_both_its_students() -> None:
    ecir = {tuple(name.split("_")[1:]) for name in NAMES if name.startswith("ecir26_")}
    assert ecir == {(data, student) for data in ("kion", "beauty", "ml20m", "m2") for student in ("sasrec", "bert4rec")}


def _trained(recipe: Recipe, root: Path, out: Path) -> list[dict[str, Any]]:
    """The diary of the training."""
    url = f"sqlite:///{out / 'retort.db'}"
    upgrade(url)
    nobody = LanguageModelSettings(openai_base_url=None, openai_api_key=None)
    engine = open_database(url)
    pipeline = make_pipeline(RunContext(recipe, root, engine, nobody, Silent()), out / "runs")
    log: list[dict[str, Any]] = orjson.loads((pipeline.ensure_path("train") / TRAINING_FILE).read_bytes())["log"]
    engine.dispose()
    return log


def _raw(place: Path, data: str) -> Path:
    """Files of the data set's layout, written once."""
    root = place / data / "raw"
    if not root.exists():
        WRITERS[data](root)
    return root


@pytest.mark.parametrize("name", NAMES)
def test_it_trains_in_two_phases_on_a_file_of_the_same_layout(name: str, place: Path) -> None:
    data = name.split("_")[1]
    root = _raw(place, data)
    faithful = load_recipe(name)
    assert faithful.objectives[0].model_dump()["mode"] == "faithful"
    recipe = load_recipe(name, (*SMALL, *_width(name)))
    log = _trained(recipe, root, place / data)
    objective = recipe.objectives[0].name
    assert [set(epoch["objectives"]) for epoch in log] == [{objective}, set()]
    assert log[0]["objectives"][objective] > 0


@pytest.mark.parametrize("name", BY_LISTS)
def test_it_trains_by_a_teachers_lists_on_a_file_of_the_same_layout(name: str, place: Path) -> None:
    data = name.split("_")[1]
    root = _raw(place, data)
    quick = ("encoder.model=tfidf", "teacher.text_encoder.width=8", "training.batch_size=16")
    turns = ("teacher.mutual.loops=1", "teacher.mutual.student_epochs=1")
    recipe = load_recipe(name, (*quick, *turns, "training.epochs=1"))
    log = _trained(recipe, root, place / data)
    assert [set(epoch["objectives"]) for epoch in log] == [{recipe.objectives[-1].name}]
    assert log[0]["objectives"][recipe.objectives[-1].name] > 0


def _width(name: str) -> tuple[str, ...]:
    small = ("student.embedding_dim=8", "reducer.n_components=8")
    if name.startswith("ecir26_"):
        return small
    latent = ("student.latent_dim=12",) if name.endswith("multvae") else ()
    parts = ("student.read_dim=4", "student.layers=[8, 8]") if name.endswith("neumf") else ()
    return (*small, "objectives.0.width=8", *latent, *parts)
