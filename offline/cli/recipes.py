"""The `retort recipes` command: lists the shipped recipes, shows one with all defaults, or prints the JSON schema."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from retort.offline.cli._options import AsJson, Overrides
from retort.offline.common.terminal import print_json

if TYPE_CHECKING:
    from retort.offline.recipes.recipe import Recipe

_SCHEMA = "schema"
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def recipes(
    recipe: Annotated[
        str | None,
        typer.Argument(help="a shipped recipe's name, or a .toml file; none: list; `schema`: JSON schema of recipes"),
    ] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """List the shipped recipes, show one whole (`extends` and all defaults filled in), or print the JSON schema."""
    if recipe == _SCHEMA and not overrides:
        from retort.offline.cli.recipe_schema import recipe_schema

        print_json(recipe_schema())
        return
    from retort.offline.recipes.recipe import load_recipe
    from retort.offline.recipes.recipe_files import shipped_recipes

    if not as_json:
        typer.echo("\n".join(list_recipes()) if recipe is None else show_recipe(recipe, overrides or []).rstrip())
    elif recipe is None:
        loaded = {name: load_recipe(name) for name in shipped_recipes()}
        print_json([{"recipe": name, "description": each.raw.get("description")} for name, each in loaded.items()])
    else:
        print_json(load_recipe(recipe, overrides or []).as_json())


def list_recipes() -> Iterator[str]:
    """A line for each shipped recipe."""
    from retort.offline.recipes.recipe import load_recipe
    from retort.offline.recipes.recipe_files import shipped_recipes

    for name in shipped_recipes():
        yield f"{name:28} {load_recipe(name).raw.get('description', '')}"


def show_recipe(reference: str, overrides: Iterable[str]) -> str:
    """The recipe as a complete TOML recipe, with `extends`, `--set` and all defaults filled in."""
    from retort.offline.recipes.recipe import load_recipe

    return recipe_as_toml(load_recipe(reference, overrides))


def recipe_as_toml(recipe: "Recipe") -> str:
    """The recipe as TOML. Keys without a value are comments, for TOML has no null."""
    values = {key: value for key, value in recipe.as_json().items() if key != "name"}
    description = {"description": recipe.raw["description"]} if "description" in recipe.raw else {}
    return "\n".join(_lines({**description, **values}, ())).strip() + "\n"


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """A table's own values first, as TOML requires, then the tables in it."""
    below: list[tuple[str, tuple[str, ...], Mapping[str, Any]]] = []
    for key, value in table.items():
        key_path = (*path, _key(key))
        if isinstance(value, Mapping) and value:
            below.append((f"[{'.'.join(key_path)}]", key_path, value))
        elif isinstance(value, list) and value and all(isinstance(element, Mapping) for element in value):
            below += [(f"[[{'.'.join(key_path)}]]", key_path, element) for element in value]
        elif value is None:
            yield f"# {_key(key)} is unset"
        else:
            yield f"{_key(key)} = {_value(value)}"
    for head, inner_path, inner in below:
        yield from ("", head)
        yield from _lines(inner, inner_path)


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else json.dumps(key)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_value(element)}" for key, element in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    # JSON's strings, numbers and truth values are valid TOML, except that TOML requires an escaped delete character
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
