"""docs/reference/recipes.md is up to date; the recipe that `retort recipes NAME` shows can be loaded again."""

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner

from retort.offline.cli.main import app
from retort.offline.cli.recipe_docs import MARK, page
from retort.offline.cli.recipe_schema import recipe_schema
from retort.offline.cli.recipes import list_recipes, recipe_as_toml, show_recipe
from retort.offline.common.plugins import plugin_names
from retort.offline.recipes.recipe import OBJECTIVES, SECTIONS, STUDENTS, load_recipe, parse_recipe
from retort.offline.recipes.recipe_files import shipped_recipes

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "recipes.md"


def test_the_page_is_up_to_date() -> None:
    written = PAGE.read_text(encoding="utf-8")
    assert page(written) == written, "docs/reference/recipes.md is old; run `make recipe-docs`."


def test_the_page_describes_every_section_plugin_and_key() -> None:
    made = PAGE.read_text(encoding="utf-8").partition(MARK)[2]
    for section, kind in SECTIONS.items():
        below = made.partition(f"\n## [{section}]\n")[2]
        assert below, section
        assert all(f"\n| `{key}` | " in below for key in kind.model_fields), section
    assert all(f"### [student] `{name}`\n" in made for name in plugin_names(STUDENTS))
    assert all(f"### [[objectives]] `{name}`\n" in made for name in plugin_names(OBJECTIVES))
    assert not [line for line in made.splitlines() if line.startswith("| `") and line.endswith("|  |")]


def test_the_handwritten_part_is_kept_and_a_page_without_the_mark_is_refused() -> None:
    assert page(f"# Mine\n\n{MARK}\nold").startswith(f"# Mine\n\n{MARK}\n\n## ")
    with pytest.raises(ValueError, match="has no line"):
        page("# Mine\n")


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_shown_recipe_equals_the_loaded_recipe(name: str) -> None:
    recipe = load_recipe(name)
    again = parse_recipe(name, tomllib.loads(recipe_as_toml(recipe)))
    assert again.as_json() == recipe.as_json()
    assert again.raw.get("description") == recipe.raw["description"]


def test_a_shown_recipe_keeps_special_characters_and_applies_overrides(tmp_path: Path) -> None:
    file = tmp_path / "odd.toml"
    file.write_text(
        'extends = "demo"\n[data]\nsource = "table"\ntext_template = "{title}\\n\\"é\\u007f\\\\"\n'
        '[data.options]\nlists = { "a b.c" = "|" }\n',
        encoding="utf-8",
    )
    shown = tomllib.loads(show_recipe(str(file), ["student.dropout=0.35", "objectives.0.weight=0.25"]))
    assert shown["data"]["text_template"] == '{title}\n"é\x7f\\'
    assert shown["data"]["options"] == {"lists": {"a b.c": "|"}}
    assert shown["student"]["dropout"] == 0.35
    assert shown["objectives"][0]["weight"] == 0.25
    assert "extends" not in shown


def test_every_shipped_recipe_is_listed_with_its_description() -> None:
    lines = list(list_recipes())
    assert [line.split()[0] for line in lines] == list(shipped_recipes())
    assert all(len(line.split()) > 2 for line in lines)


def test_the_json_schema_accepts_every_shipped_recipe_as_written_and_as_shown() -> None:
    schema = recipe_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for name, path in shipped_recipes().items():
        for content in (tomllib.loads(path.read_text(encoding="utf-8")), tomllib.loads(show_recipe(name, []))):
            assert not [error.message for error in validator.iter_errors(content)], name


@pytest.mark.parametrize(
    ("content", "faulty"),
    [
        ("[training]\nepoch = 3", "training"),
        ("[training]\nepochs = 0", "training.epochs"),
        ("[[objectives]]\nname = 'profil'", "objectives.0.name"),
        ("[[objectives]]\nname = 'profile'\ntemprature = 1", "objectives.0"),
        ("[student]\nname = 'gru4rec'\nn_heads = 2", "student"),
        ("[data]\nsource = 'table'\n[data.options]\nseparater = ';'", "data.options"),
        ("[profiles]\nbackend = 'vllm'\n[profiles.options]\nmodle = 'x'", "profiles.options"),
        ("protocol = 'hold'", "protocol"),
    ],
)
def test_the_json_schema_finds_faults(content: str, faulty: str) -> None:
    validator = jsonschema.Draft202012Validator(recipe_schema())
    assert faulty in {".".join(map(str, error.path)) for error in validator.iter_errors(tomllib.loads(content))}


def test_the_schema_is_printed() -> None:
    shown = CliRunner().invoke(app, ["recipes", "schema"])
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.output)["title"] == "Recipe"


def test_a_file_may_extend_the_shipped_recipe_of_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "shop.toml").write_text('extends = "shop"\n[student]\nmax_length = 7\n')
    recipe = load_recipe(str(tmp_path / "shop.toml"))
    assert (recipe.student.max_length, recipe.split.method) == (7, "leave_one_out")
