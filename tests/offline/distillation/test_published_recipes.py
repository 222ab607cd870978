"""Every shipped recipe of ECIR 2026 and LLM-KT trains, on a small made-up file of its data set's own layout."""

from pathlib import Path

import orjson
import pytest

from offline.pipeline import Context, open_line
from offline.pipeline.context import TRAINING_FILE
from offline.progress import Silent
from offline.recipe import load_recipe, shipped_recipes
from shared.db.migrate import upgrade
from shared.db.session import open_database
from shared.settings import LanguageModelSettings
from tests.offline.distillation._layouts import WRITERS

NAMES = [name for name in shipped_recipes() if name.startswith(("ecir26_", "llmkt_"))]
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


@pytest.mark.parametrize("name", NAMES)
def test_it_trains_in_two_phases_on_a_file_of_the_same_layout(name: str, place: Path) -> None:
    data = name.split("_")[1]
    root = place / data / "raw"
    if not root.exists():
        WRITERS[data](root)
    faithful = load_recipe(name)
    assert faithful.objectives[0].model_dump()["mode"] == "faithful"
    recipe = load_recipe(name, (*SMALL, *_width(name)))
    url = f"sqlite:///{place / data / 'retort.db'}"
    upgrade(url)
    nobody = LanguageModelSettings(openai_base_url=None, openai_api_key=None)
    engine = open_database(url)
    line = open_line(Context(recipe, root, engine, nobody, Silent()), place / data / "runs")
    log = orjson.loads((line.path("train") / TRAINING_FILE).read_bytes())["log"]
    engine.dispose()
    objective = recipe.objectives[0].name
    assert [set(epoch["objectives"]) for epoch in log] == [{objective}, set()]
    assert log[0]["objectives"][objective] > 0


def _width(name: str) -> tuple[str, ...]:
    small = ("student.embedding_dim=8", "reducer.n_components=8")
    if name.startswith("ecir26_"):
        return small
    latent = ("student.latent_dim=12",) if name.endswith("multvae") else ()
    parts = ("student.read_dim=4", "student.layers=[8, 8]") if name.endswith("neumf") else ()
    return (*small, "objectives.0.width=8", *latent, *parts)
