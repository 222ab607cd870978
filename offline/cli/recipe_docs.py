"""Generator of docs/reference/recipes.md: every section and key of a recipe, from the classes that read them.

Run as `python -m retort.offline.cli.recipe_docs docs/reference/recipes.md`. The text above `MARK` is written by hand
and kept; the text below it is generated.
"""

import inspect
import json
import re
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from retort.offline.common.plugins import load_plugin, plugin_names
from retort.offline.common.section import Section
from retort.offline.ctr.config import CtrConfig
from retort.offline.data.load import SOURCES
from retort.offline.distillation.configs._base import ObjectiveConfig
from retort.offline.experiments.plan import PlanConfig
from retort.offline.profiles import imported
from retort.offline.profiles.config import BACKENDS, IMPORTED
from retort.offline.recipes.recipe import OBJECTIVES, SECTIONS, STUDENTS
from retort.offline.students.configs._base import StudentConfig

MARK = "<!-- generated from here by `make recipe-docs`; edit the descriptions in the classes that read the recipe -->"
_HEAD = ("| Key | Value | Default | Meaning |", "|---|---|---|---|")
_WORDS = {str: "text", bool: "true or false", int: "whole number", float: "number", Path: "path", Any: "any"}
_LIMITS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
# one description for all: every objective that follows a paper has this key
_MODE = "faithful: as published, for comparison; repaired: what was found wrong with it is mended"
_TOP = (
    ("description", "text", "", "one line for `retort recipes`"),
    ("extends", "text", "unset", "the recipe to start from: a shipped name, or a path relative to this file"),
    (
        "protocol",
        '`"held"` `"refit"`',
        '`"held"`',
        "held: the epoch that validation chose is tested; refit: with its number of epochs a student is trained on "
        "train and validation, and that one is tested",
    ),
    ("objectives", "list of tables", "none", "what the student is taught besides; none: a plain run, without profiles"),
)


def reference() -> str:
    """The generated part of the page."""
    parts = ["## At the top of the file", table(row(*cells) for cells in _TOP)]
    for name, kind in SECTIONS.items():
        parts += section(f"[{name}]", kind)
        parts += _PLUGINS_OF[name]() if name in _PLUGINS_OF else []
        if name == "teacher":
            parts += students()
    parts += objectives()
    parts += section(
        "Experiment files", PlanConfig, "", "Files in `recipes/experiments/`, for `retort experiment run`."
    )
    parts += section("[ctr]", CtrConfig, description="One more section of a recipe for `retort ctr`.")
    return "\n\n".join(part for part in parts if part) + "\n"


def sources() -> list[str]:
    """`[data.options]` of each source."""
    return _plugins(SOURCES, "[data.options]", "source")


def backends() -> list[str]:
    """`[profiles.options]` of each backend."""
    about = 'Profiles written elsewhere, JSON lines: `backend = "imported"`.'
    own = [f"### [profiles.options] of backend `{IMPORTED}`", about, keys(imported.Config)]
    return own + _plugins(BACKENDS, "[profiles.options]", "backend")


def students() -> list[str]:
    """`[student]`: the common keys, then the keys of each student."""
    name = row("name", "text", '`"sasrec"`', f"which student: {_listed(plugin_names(STUDENTS))}")
    parts = ["## [student]", table([name, *rows(StudentConfig)])]
    for student in plugin_names(STUDENTS):
        module = load_plugin(STUDENTS, student)
        parts += [f"### [student] `{student}`", _first_sentence(module), keys(module.Config, common=StudentConfig)]
    return parts


def objectives() -> list[str]:
    """`[[objectives]]`: the common keys, then the keys of each objective."""
    parts = ["## [[objectives]]", _paragraphs(ObjectiveConfig), keys(ObjectiveConfig)]
    for objective in plugin_names(OBJECTIVES):
        module = load_plugin(OBJECTIVES, objective)
        parts += [f"### [[objectives]] `{objective}`", _first_sentence(module)]
        parts += [keys(module.Config, common=ObjectiveConfig)]
    return parts


_PLUGINS_OF = {"data": sources, "profiles": backends}


def _plugins(package: str, where: str, what: str) -> list[str]:
    parts: list[str] = []
    for name in plugin_names(package):
        module = load_plugin(package, name)
        parts += [f"### {where} of {what} `{name}`", _first_sentence(module), keys(module.Config)]
    return parts


def section(title: str, kind: type[Section], inside: str | None = None, description: str | None = None) -> list[str]:
    """A section, followed by its subsections. inside: prefix of the subsections' names."""
    path = title.strip("[]") + "." if inside is None else inside
    level = "###" if path.count(".") > 1 else "##"
    parts = [f"{level} {title}", description or _paragraphs(kind), keys(kind)]
    for name, field in kind.model_fields.items():
        below = _section_in(field.annotation)
        if below is not None:
            shown = f"[[{path}{name}]]" if get_origin(field.annotation) is list else f"[{path}{name}]"
            parts += ["#" + part if part.startswith("## ") else part for part in section(shown, below)]
    return parts


def keys(kind: type[Section], common: type[Section] | None = None) -> str:
    """The table of a class's keys, without those that are the same in `common`."""
    own = list(rows(kind, common))
    return table(own) if own else "No keys of its own."


def table(lines: Iterator[str] | list[str]) -> str:
    """A Markdown table with the head of all pages' tables."""
    return "\n".join([*_HEAD, *lines])


def rows(kind: type[Section], common: type[Section] | None = None) -> Iterator[str]:
    """One row for each key."""
    known = common.model_fields if common else {}
    for name, field in kind.model_fields.items():
        if name not in known or known[name].default != field.default:
            yield row(name, value_of(field), default_of(field), meaning_of(kind, name))


def row(key: str, value: str, default: str, meaning: str) -> str:
    """One row of a table; `|` in a cell is escaped, because it would end the cell."""
    return f"| `{key}` | " + " | ".join(cell.replace("|", "\\|") for cell in (value, default, meaning)) + " |"


def value_of(field: FieldInfo) -> str:
    """The allowed values: choices, or a type and its limits."""
    return ", ".join([_kind(field.annotation), *_limits(field.metadata)])


def _limits(metadata: Iterable[Any]) -> list[str]:
    return [
        f"{sign} {getattr(limit, name):,.10g}"
        for limit in metadata
        for name, sign in _LIMITS.items()
        if hasattr(limit, name)
    ]


def _kind(annotation: Any) -> str:
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return ", ".join([_kind(inside[0]), *_limits(inside[1].metadata)])
    if origin is Literal:
        return " ".join(f"`{json.dumps(choice)}`" for choice in inside)
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(option) for option in inside if option is not type(None))
    if origin in (list, tuple):
        return f"list of: {_kind(inside[0])}"
    if origin is dict or _section_in(annotation) is not None:
        return "table"
    return _WORDS[annotation]


def default_of(field: FieldInfo) -> str:
    """The default in TOML's syntax; "needed" if there is none."""
    if field.is_required():
        return "needed"
    default = field.get_default(call_default_factory=True)
    if default is None:
        return "unset"
    if isinstance(default, BaseModel):
        return "see its section"
    return f"`{json.dumps(default, ensure_ascii=False, default=str)}`"


def meaning_of(kind: type[Section], name: str) -> str:
    """The key's description; a class that only changes the default inherits it from its base class."""
    for owner in kind.__mro__:
        field = getattr(owner, "model_fields", {}).get(name)
        if field is not None and field.description:
            return str(field.description)
    return _MODE if name == "mode" else ""


def _section_in(annotation: Any) -> type[Section] | None:
    """The section class of a key that is a section or a list of sections."""
    inside = get_args(annotation)[0] if get_origin(annotation) is list else annotation
    return inside if inspect.isclass(inside) and issubclass(inside, Section) else None


def _paragraphs(kind: type[Section]) -> str:
    """The class's docstring without the section's name, which is the heading."""
    text = re.sub(r"^`\[[\w.]+\]`[:.]\s*", "", inspect.getdoc(kind) or "")
    return text[:1].upper() + text[1:]


def _first_sentence(module: types.ModuleType) -> str:
    """The first paragraph of a plug-in's docstring."""
    return " ".join((module.__doc__ or "").split("\n\n")[0].split())


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def page(before: str) -> str:
    """The page with its generated part replaced."""
    head, mark, _ = before.partition(MARK)
    if not mark:
        raise ValueError(f"the page has no line {MARK!r}; put it after the text that is written by hand.")
    return f"{head}{MARK}\n\n{reference()}"


def undescribed_keys(kinds: Mapping[str, type[Section]]) -> Iterator[str]:
    """Yield the keys without a description, as `section.key`."""
    for where, kind in kinds.items():
        yield from (f"{where}.{name}" for name in kind.model_fields if not meaning_of(kind, name))


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(page(path.read_text(encoding="utf-8")), encoding="utf-8")
