"""`retort recipes`: which are shipped, and what one is with everything filled in."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from retort.offline.recipes.recipe import Recipe, load_recipe, shipped_recipes

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def list_recipes() -> Iterator[str]:
    """A line for each shipped recipe."""
    for name in shipped_recipes():
        yield f"{name:28} {load_recipe(name).raw.get('description', '')}"


def show_recipe(reference: str, overrides: Iterable[str]) -> str:
    """The recipe as TOML: a recipe again, with `extends`, `--set` and all defaults filled in."""
    return recipe_as_toml(load_recipe(reference, overrides))


def recipe_as_toml(recipe: Recipe) -> str:
    """What the run would do. Keys without a value are comments, for TOML has no word for nothing."""
    said = {key: value for key, value in recipe.as_json().items() if key != "name"}
    description = {"description": recipe.raw["description"]} if "description" in recipe.raw else {}
    return "\n".join(_lines({**description, **said}, ())).strip() + "\n"


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """A table's own values first, as TOML wants it, then the tables in it."""
    below: list[tuple[str, tuple[str, ...], Mapping[str, Any]]] = []
    for key, value in table.items():
        place = (*path, _key(key))
        if isinstance(value, Mapping) and value:
            below.append((f"[{'.'.join(place)}]", place, value))
        elif isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
            below += [(f"[[{'.'.join(place)}]]", place, one) for one in value]
        elif value is None:
            yield f"# {_key(key)} is unset"
        else:
            yield f"{_key(key)} = {_value(value)}"
    for head, place, inner in below:
        yield from ("", head)
        yield from _lines(inner, place)


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else json.dumps(key)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_value(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    # JSON's strings, numbers and truth values are TOML's too, but for the delete character, which TOML wants escaped
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
