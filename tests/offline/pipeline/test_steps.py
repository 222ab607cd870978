"""What names a step: all that shapes its files, and nothing else, so that no stale work is taken for done."""

from pathlib import Path

import pytest

from retort.offline.pipeline.build import make_steps
from retort.offline.recipes.recipe import load_recipe, parse_recipe
from retort.shared.base.settings import LanguageModelSettings

TINY = str(Path(__file__).parents[2] / "tiny.toml")

NOBODY = LanguageModelSettings(_env_file=None, openai_base_url=None, openai_api_key=None)  # type: ignore[call-arg]


def configs(*knobs: str, language_model: LanguageModelSettings = NOBODY) -> dict[str, object]:
    return {step.name: step.config for step in make_steps(load_recipe(TINY, knobs), None, language_model)}


def test_an_encoder_in_a_folder_is_identified_by_its_content(tmp_path: Path) -> None:
    """A model that was trained on and saved in the same place is another one."""
    knobs = (f"encoder.model={tmp_path} + packaged-minilm", "objectives.0.name=soft_items")
    (tmp_path / "model.safetensors").write_text("one")
    before = configs(*knobs)
    assert configs(*knobs) == before
    (tmp_path / "model.safetensors").write_text("other")
    after = configs(*knobs)
    changed = {name for name, config in before.items() if config != after[name]}
    assert changed == {"vectors", "items"}


@pytest.mark.parametrize(
    ("lists", "section"), [("grounding", "grounding"), ("item_head", "item_head"), ("mutual", "item_head")]
)
def test_a_language_model_in_a_folder_is_identified_by_its_content(tmp_path: Path, lists: str, section: str) -> None:
    knobs = ("objectives.0.name=mutual", f"teacher.lists={lists}", f"teacher.{section}.model={tmp_path}")
    knobs += ("teacher.mutual.teacher=item_head",) if lists == "mutual" else ()
    (tmp_path / "config.json").write_text("one")
    before = configs(*knobs)
    (tmp_path / "config.json").write_text("other")
    after = configs(*knobs)
    assert {name for name, config in before.items() if config != after[name]} == {"lists", "lists_refit"}


def test_the_server_is_part_of_the_cache_key_if_it_chooses_the_model() -> None:
    def asked(url: str, *knobs: str) -> object:
        there = LanguageModelSettings(_env_file=None, openai_base_url=url, openai_api_key=None)  # type: ignore[call-arg]
        return configs("profiles.backend=openai", *knobs, language_model=there)["profiles"]

    assert asked("http://one/v1") != asked("http://other/v1")
    named = "profiles.options.model=some-model"
    assert asked("http://one/v1", named) == asked("http://other/v1", named)


def test_a_training_with_weighted_profiles_depends_on_them() -> None:
    def needs(*knobs: str) -> tuple[str, ...]:
        recipe = load_recipe(TINY, ("objectives.0.name=profile", *knobs))
        return next(step.needs for step in make_steps(recipe, None, NOBODY) if step.name == "train")

    assert "profiles" not in needs()
    assert "profiles" in needs("teacher.weights.by=grounding")


def test_a_bundle_gets_places_of_users_where_profiles_and_item_texts_have_one_encoder() -> None:
    def needs(*knobs: str, plain: bool = False) -> set[str]:
        recipe = load_recipe("demo", knobs)
        steps = make_steps(recipe.plain() if plain else recipe, None, NOBODY)
        return set(next(step.needs for step in steps if step.name == "seal")) & {"vectors", "items"}

    assert needs() == {"vectors", "items"}
    assert needs(plain=True) == set()
    assert needs("teacher.items=tuned") == set(), "the items' vectors are of another encoder"
    assert needs("teacher.users=file", "teacher.users_path=x") == set(), "given vectors are of another encoder"
    assert needs("encoder.shards=2") == set()
    assert needs("encoder.model=tfidf") == set(), "word counts of profiles and of items have other dimensions"


@pytest.mark.parametrize("named", ["../elsewhere/events.csv", "{root}/elsewhere/events.csv"])
def test_a_file_outside_the_data_directory_is_identified_by_its_content(tmp_path: Path, named: str) -> None:
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    data.mkdir()
    elsewhere.mkdir()
    recipe = parse_recipe(
        "shop", {"data": {"source": "table", "options": {"interactions": named.format(root=tmp_path)}}}
    )

    def state() -> object:
        return next(step.config for step in make_steps(recipe, data, NOBODY) if step.name == "data")

    (elsewhere / "events.csv").write_text("user_id,item_id\nu,a\n")
    before = state()
    (elsewhere / "events.csv").write_text("user_id,item_id\nu,b\n")
    assert state() != before
