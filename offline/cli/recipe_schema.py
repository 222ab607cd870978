"""JSON schema of a recipe, from the classes that read it: editors complete keys and mark wrong values with it.

Keys that depend on a name (`[student]`, `[[objectives]]`, `[data.options]`, `[profiles.options]`) are checked where the
file states the name; a recipe may inherit it by `extends`, and then any key is accepted.
"""

from collections.abc import Iterator
from typing import Any

from retort.offline.common.plugins import load_config, load_plugin, plugin_names
from retort.offline.common.section import Section
from retort.offline.ctr.config import CtrConfig
from retort.offline.data.load import SOURCES
from retort.offline.profiles import imported
from retort.offline.profiles.config import BACKENDS, IMPORTED
from retort.offline.recipes.recipe import OBJECTIVES, SECTIONS, STUDENTS

Schema = dict[str, Any]
_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_TOP: Schema = {
    "description": {"type": "string", "description": "one line for `retort recipes`"},
    "extends": {"type": "string", "description": "the recipe to start from: a shipped name, or a path"},
    "protocol": {"enum": ["held", "refit"], "default": "held"},
}


def recipe_schema() -> Schema:
    """Return the JSON schema (draft 2020-12) of a recipe, as JSON-compatible values."""
    definitions: Schema = {}
    kinds: dict[str, type[Section]] = {**SECTIONS, "ctr": CtrConfig}
    sections = {name: _schema_of(kind, name, definitions) for name, kind in kinds.items()}
    _add_options(sections["data"], "source", dict(_plugins(SOURCES)), definitions)
    backends: dict[str, type[Section]] = {**dict(_plugins(BACKENDS)), IMPORTED: imported.Config}
    _add_options(sections["profiles"], "backend", backends, definitions)
    students = {name: load_config(STUDENTS, name) for name in plugin_names(STUDENTS)}
    objectives = {name: load_config(OBJECTIVES, name) for name in plugin_names(OBJECTIVES)}
    named = {
        "student": _by_name(students, "student", definitions),
        "objectives": {"type": "array", "items": _by_name(objectives, "objective", definitions, required=True)},
    }
    return {
        "$schema": _DRAFT,
        "title": "Recipe",
        "type": "object",
        "additionalProperties": False,
        "properties": {**_TOP, **sections, **named},
        "$defs": definitions,
    }


def _plugins(package: str) -> Iterator[tuple[str, type[Section]]]:
    for name in plugin_names(package):
        yield name, load_plugin(package, name).Config


def _schema_of(kind: type[Section], where: str, definitions: Schema) -> Schema:
    """The schema of a class; those of its subsections go to `definitions`, under names that no other class has."""
    schema = kind.model_json_schema(ref_template=f"#/$defs/{where}.{{model}}")
    definitions |= {f"{where}.{name}": _optional(inner) for name, inner in schema.pop("$defs", {}).items()}
    return _optional(schema)


def _optional(schema: Schema) -> Schema:
    """Without `required`: a recipe may inherit every key."""
    return {key: value for key, value in schema.items() if key != "required"}


def _add_options(section: Schema, key: str, kinds: dict[str, type[Section]], definitions: Schema) -> None:
    """The keys of `options` follow from the section's `key` where the file states it."""
    section["allOf"] = [
        {
            "if": {"properties": {key: {"const": name}}, "required": [key]},
            "then": {"properties": {"options": _schema_of(kind, f"{key}.{name}", definitions)}},
        }
        for name, kind in kinds.items()
    ]


def _by_name(kinds: dict[str, type[Section]], where: str, definitions: Schema, *, required: bool = False) -> Schema:
    """A table whose keys follow from its `name`."""
    name_key: Schema = {"enum": list(kinds)}
    cases = []
    for name, kind in kinds.items():
        schema = _schema_of(kind, f"{where}.{name}", definitions)
        schema["properties"] = {**schema["properties"], "name": {"const": name}}
        cases.append({"if": {"properties": {"name": {"const": name}}, "required": ["name"]}, "then": schema})
    table: Schema = {"type": "object", "properties": {"name": name_key}, "allOf": cases}
    return {**table, "required": ["name"]} if required else table
