"""Every number in a recipe has bounds, and what is outside is refused when the recipe is read."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any, get_args

import pytest

from retort.offline.common.plugins import load_config, load_plugin, plugin_names
from retort.offline.common.section import MAX_SEED, Section, parse_section
from retort.offline.ctr.config import CtrConfig
from retort.offline.data.load import SOURCES
from retort.offline.distillation.configs._base import ObjectiveConfig
from retort.offline.evaluation.evaluate import EvaluationConfig
from retort.offline.experiments.plan import PlanConfig
from retort.offline.profiles.config import BACKENDS
from retort.offline.recipes.recipe import OBJECTIVES, SECTIONS, STUDENTS, load_recipe, parse_recipe
from retort.offline.recipes.recipe_files import shipped_recipes
from retort.offline.refresh.cost import Prices
from retort.offline.refresh.policy import RefreshPolicy
from retort.offline.students.configs._base import StudentConfig
from retort.offline.training.config import TrainingConfig
from retort.shared.base.errors import RecipeError

# weights of interactions: the data define their range
UNBOUNDED = {("DataConfig", "min_weight"), ("CtrConfig", "positive_from")}


def _sections(kind: type[Section]) -> Iterator[type[Section]]:
    yield kind
    for field in kind.model_fields.values():
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, Section):
                yield from _sections(inner)


def _configs() -> list[type[Section]]:
    plugins = [load_config(package, name) for package in (STUDENTS, OBJECTIVES) for name in plugin_names(package)]
    options = [load_plugin(package, name).Config for package in (SOURCES, BACKENDS) for name in plugin_names(package)]
    files = (CtrConfig, PlanConfig, RefreshPolicy, Prices)
    found = [*SECTIONS.values(), *plugins, *options, *files, StudentConfig, ObjectiveConfig]
    return sorted({one for kind in found for one in _sections(kind)}, key=lambda kind: (kind.__module__, kind.__name__))


def _numbers(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if schema.get("type") in ("integer", "number"):
        yield schema
    for part in (*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else [])):
        yield from _numbers(part)


@pytest.mark.parametrize("kind", _configs(), ids=lambda kind: f"{kind.__module__.rsplit('.', 1)[1]}.{kind.__name__}")
def test_every_number_has_a_lower_bound_in_the_schema(kind: type[Section]) -> None:
    for key, schema in kind.model_json_schema()["properties"].items():
        if (kind.__name__, key) in UNBOUNDED:
            continue
        for number in _numbers(schema):
            assert {"minimum", "exclusiveMinimum"} & set(number), key


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("kind", _configs(), ids=lambda kind: f"{kind.__module__.rsplit('.', 1)[1]}.{kind.__name__}")
def test_nan_and_infinity_are_refused(kind: type[Section], value: float) -> None:
    for key, field in kind.model_fields.items():
        if float in (field.annotation, *get_args(field.annotation)):
            with pytest.raises(RecipeError, match=key):
                parse_section(kind, {"name": "x", key: value} if "name" in kind.model_fields else {key: value}, "x")


@pytest.mark.parametrize("name", plugin_names(STUDENTS))
@pytest.mark.parametrize(
    ("key", "value"),
    [("max_length", 1), ("max_length", 0), ("max_length", -3), ("max_length", 10**9), ("embedding_dim", 0),
     ("embedding_dim", -64), ("embedding_dim", 10**9)],
)  # fmt: skip
def test_a_student_of_impossible_size_is_refused_before_any_work(name: str, key: str, value: int) -> None:
    with pytest.raises(RecipeError, match=rf"\[student\] {key} = {value}: Input should be"):
        parse_recipe("x", {"student": {"name": name, key: value}})


@pytest.mark.parametrize(
    ("student", "sentence"),
    [
        ({"name": "sasrec", "n_heads": 3}, "n_heads = 3 does not divide embedding_dim = 64"),
        ({"name": "hstu", "embedding_dim": 65}, "n_heads = 2 does not divide embedding_dim = 65"),
        ({"name": "caser", "window": 60}, "window = 60 exceeds max_length = 50"),
        ({"name": "neumf", "read_dim": 64}, "holds both parts"),
        ({"name": "neumf", "embedding_dim": 1}, "holds both parts"),
        ({"name": "neumf", "layers": [64, 0]}, r"layers\.1 = 0"),
    ],
)
def test_settings_of_a_student_that_exclude_each_other_are_refused(student: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RecipeError, match=sentence):
        parse_recipe("x", {"student": student})


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (TrainingConfig, {"seed": -1}),
        (TrainingConfig, {"seed": MAX_SEED + 1}),
        (TrainingConfig, {"batch_size": 10**12}),
        (EvaluationConfig, {"k": [10, 0]}),
        (EvaluationConfig, {"k": []}),
        (EvaluationConfig, {"k": [-5]}),
        (CtrConfig, {"layers": [128, -1]}),
        (CtrConfig, {"seeds": [-1]}),
        (ObjectiveConfig, {"name": "x", "weight": 2.0, "share": True}),
        (ObjectiveConfig, {"name": "x", "first_epoch": 5, "last_epoch": 4}),
    ],
)
def test_values_outside_of_their_bounds_are_refused(kind: type[Section], raw: dict[str, Any]) -> None:
    with pytest.raises(RecipeError):
        parse_section(kind, raw, "x")


def test_the_generated_page_shows_the_bounds() -> None:
    page = import_module("retort.offline.cli.recipe_docs").reference()
    assert "| `max_length` | whole number, ≥ 2, ≤ 10,000 | `50` |" in page
    assert "| `k` | list of: whole number, ≥ 1, ≤ 1,000 | `[10, 5, 20]` |" in page


def test_every_shipped_recipe_is_within_the_bounds() -> None:
    for name in shipped_recipes():
        load_recipe(name)
