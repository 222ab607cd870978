"""Generates docs/reference/recipes.md: every section and key of a recipe, from the classes that read them.

Run as `python -m retort.offline.cli.recipe_docs docs/reference/recipes.md`.

What stands above `MARK` is written by hand and kept; what stands below is made anew.
"""

import inspect
import json
import re
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

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

MARK = "<!-- from here on made by `make recipe-docs`; edit the descriptions beside the code that reads them -->"
_HEAD = ("| Key | Value | Default | Meaning |", "|---|---|---|---|")
_WORDS = {str: "text", bool: "true or false", int: "whole number", float: "number", Path: "path", Any: "any"}
_LIMITS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
# said once: the same choice in every objective that follows a paper
_MODE = "faithful: as published, for comparison; repaired: what was found wrong with it is mended"
_TOP = (
    ("description", "text", "", "one line for `retort recipes`"),
    ("extends", "text", "unset", "the recipe to start from: a shipped name, or a path beside this file"),
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
    """Everything below the mark."""
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
    parts += section("[ctr]", CtrConfig, told="In a recipe for `retort ctr`, beside its other sections.")
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
    """`[student]`: what all have, then each one's own keys."""
    name = row("name", "text", '`"sasrec"`', f"which student: {_listed(plugin_names(STUDENTS))}")
    parts = ["## [student]", table([name, *rows(StudentConfig)])]
    for student in plugin_names(STUDENTS):
        module = load_plugin(STUDENTS, student)
        parts += [f"### [student] `{student}`", _first_sentence(module), keys(module.Config, besides=StudentConfig)]
    return parts


def objectives() -> list[str]:
    """`[[objectives]]`: what all have, then each one's own keys."""
    parts = ["## [[objectives]]", _paragraphs(ObjectiveConfig), keys(ObjectiveConfig)]
    for objective in plugin_names(OBJECTIVES):
        module = load_plugin(OBJECTIVES, objective)
        parts += [f"### [[objectives]] `{objective}`", _first_sentence(module)]
        parts += [keys(module.Config, besides=ObjectiveConfig)]
    return parts


_PLUGINS_OF = {"data": sources, "profiles": backends}


def _plugins(package: str, where: str, what: str) -> list[str]:
    parts: list[str] = []
    for name in plugin_names(package):
        module = load_plugin(package, name)
        parts += [f"### {where} of {what} `{name}`", _first_sentence(module), keys(module.Config)]
    return parts


def section(title: str, kind: type[Section], inside: str | None = None, told: str | None = None) -> list[str]:
    """A section and, behind it, the sections in it. inside: what the names of those begin with."""
    path = title.strip("[]") + "." if inside is None else inside
    level = "###" if path.count(".") > 1 else "##"
    parts = [f"{level} {title}", told or _paragraphs(kind), keys(kind)]
    for name, field in kind.model_fields.items():
        below = _section_in(field.annotation)
        if below is not None:
            shown = f"[[{path}{name}]]" if get_origin(field.annotation) is list else f"[{path}{name}]"
            parts += ["#" + part if part.startswith("## ") else part for part in section(shown, below)]
    return parts


def keys(kind: type[Section], besides: type[Section] | None = None) -> str:
    """The table of a class's keys. besides: without those that are as in this class."""
    own = list(rows(kind, besides))
    return table(own) if own else "No keys of its own."


def table(lines: Iterator[str] | list[str]) -> str:
    return "\n".join([*_HEAD, *lines])


def rows(kind: type[Section], besides: type[Section] | None = None) -> Iterator[str]:
    """A line for each key."""
    common = besides.model_fields if besides else {}
    for name, field in kind.model_fields.items():
        if name not in common or common[name].default != field.default:
            yield row(name, value_of(field), default_of(field), meaning_of(kind, name))


def row(key: str, value: str, default: str, meaning: str) -> str:
    """One line; a `|` in a cell would end it."""
    return f"| `{key}` | " + " | ".join(cell.replace("|", "\\|") for cell in (value, default, meaning)) + " |"


def value_of(field: FieldInfo) -> str:
    """What may be written: choices, or a kind and its limits."""
    limits = [
        f"{sign} {getattr(limit, name):,.10g}"
        for limit in field.metadata
        for name, sign in _LIMITS.items()
        if hasattr(limit, name)
    ]
    return ", ".join([_kind(field.annotation), *limits])


def _kind(annotation: Any) -> str:
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " ".join(f"`{json.dumps(one)}`" for one in inside)
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(one) for one in inside if one is not type(None))
    if origin in (list, tuple):
        return f"list of: {_kind(inside[0])}"
    if origin is dict or _section_in(annotation) is not None:
        return "table"
    return _WORDS[annotation]


def default_of(field: FieldInfo) -> str:
    """As TOML would have it; "needed" where there is none."""
    if field.is_required():
        return "needed"
    default = field.get_default(call_default_factory=True)
    if default is None:
        return "unset"
    if isinstance(default, BaseModel):
        return "see its section"
    return f"`{json.dumps(default, ensure_ascii=False, default=str)}`"


def meaning_of(kind: type[Section], name: str) -> str:
    """The key's description, where a class only sets another default that of the class it extends."""
    for owner in kind.__mro__:
        field = getattr(owner, "model_fields", {}).get(name)
        if field is not None and field.description:
            return str(field.description)
    return _MODE if name == "mode" else ""


def _section_in(annotation: Any) -> type[Section] | None:
    """The section that a key holds, or a list of it."""
    inside = get_args(annotation)[0] if get_origin(annotation) is list else annotation
    return inside if inspect.isclass(inside) and issubclass(inside, Section) else None


def _paragraphs(kind: type[Section]) -> str:
    """The class's docstring without its section's name, which stands above it."""
    told = re.sub(r"^`\[[\w.]+\]`[:.]\s*", "", inspect.getdoc(kind) or "")
    return told[:1].upper() + told[1:]


def _first_sentence(module: types.ModuleType) -> str:
    """The first paragraph of a plug-in's file."""
    return " ".join((module.__doc__ or "").split("\n\n")[0].split())


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def page(before: str) -> str:
    """The page with its head kept."""
    head, mark, _ = before.partition(MARK)
    if not mark:
        raise ValueError(f"the page has no line {MARK!r}; put it behind what is written by hand.")
    return f"{head}{MARK}\n\n{reference()}"


def described(kinds: Mapping[str, type[Section]]) -> Iterator[str]:
    """Keys without a description, as `section.key`."""
    for where, kind in kinds.items():
        yield from (f"{where}.{name}" for name in kind.model_fields if not meaning_of(kind, name))


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(page(path.read_text(encoding="utf-8")), encoding="utf-8")
