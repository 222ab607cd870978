"""The papers' tables again: their shipped recipes, faithful and repaired, beside the numbers that were printed.

Recipes are found by name, PAPER_DATASET_STUDENT[_VARIANT]; printed numbers lie in recipes/published/PAPER.toml.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from retort.offline.common.plugins import load_config
from retort.offline.pipeline.build import make_pipeline
from retort.offline.pipeline.context import RunContext
from retort.offline.pipeline.outcome import run_pipeline
from retort.offline.recipes.recipe import (
    OBJECTIVES,
    Recipe,
    parse_override,
    parse_recipe,
    read_recipe,
    shipped_recipes,
    with_keys,
)
from retort.shared.base.errors import RecipeError

Mode = Literal["plain", "faithful", "repaired"]
MODES: tuple[Mode, ...] = ("plain", "faithful", "repaired")
_FAITHFUL = "_faithful"
# ways of the published code outside of objectives: a repaired run takes the product's own
_PUBLISHED_WAYS = {"encoder": ("prefix",)}


@dataclass(frozen=True)
class Reproduced:
    """One run beside what was printed. printed: metric → value; empty where the paper has no such row."""

    recipe: str
    dataset: str
    student: str
    mode: Mode
    measured: dict[str, float]
    printed: dict[str, float]


@dataclass(frozen=True)
class Row:
    """What is to be run for one line of a paper's table."""

    recipe: Recipe
    dataset: str
    student: str
    mode: Mode
    printed: dict[str, float]


def papers() -> list[str]:
    """The papers whose numbers are shipped."""
    return sorted(path.stem for path in _published().glob("*.toml"))


def rows_of(paper: str, dataset: str | None, modes: Sequence[Mode] = MODES, overrides: Sequence[str] = ()) -> list[Row]:
    """The runs of a paper, of one data set or all. RecipeError where there is no such paper or recipe."""
    if paper not in papers():
        raise RecipeError(f"there is no paper {paper!r}; there are: {', '.join(papers())}.")
    printed = tomllib.loads((_published() / f"{paper}.toml").read_text(encoding="utf-8"))
    names = [name for name in shipped_recipes() if name.startswith(f"{paper}_") and not name.endswith(_FAITHFUL)]
    known = list(dict.fromkeys(name.split("_")[1] for name in names))
    if dataset is not None and dataset not in known:
        raise RecipeError(f"{paper} has no recipe for {dataset!r}; it has recipes for: {', '.join(known) or 'none'}.")
    keys = dict(parse_override(one) for one in overrides)
    rows: list[Row] = []
    for name in names:
        _, of_dataset, student, *_ = [*name.split("_"), ""]
        if dataset in (None, of_dataset):
            numbers = printed.get(of_dataset, {}).get(student, {})
            for mode in modes:
                kind = "plain" if mode == "plain" else "taught"
                rows.append(Row(recipe_in(name, mode, keys), of_dataset, student, mode, numbers.get(kind, {})))
    return rows


def recipe_in(name: str, mode: Mode, keys: dict[str, Any]) -> Recipe:
    """A shipped recipe in one mode: its own faithful twin where there is one, else every objective's `mode` set."""
    twin = f"{name}{_FAITHFUL}"
    _, raw = read_recipe(twin if mode == "faithful" and twin in shipped_recipes() else name, Path.cwd())
    if mode == "plain":
        raw = {key: value for key, value in raw.items() if key != "objectives"}
        keys = {key: value for key, value in keys.items() if not key.startswith("objectives.")}
    else:
        raw = raw if mode == "faithful" else _without_published_ways(raw)
        raw = {**raw, "objectives": [_moded(one, mode) for one in raw.get("objectives", [])]}
    return parse_recipe(f"{name}_{mode}", with_keys(raw, keys))


def _moded(objective: dict[str, Any], mode: Mode) -> dict[str, Any]:
    """The objective in a mode; where a faithful one is repaired, what belongs to the published form is left out."""
    config = load_config(OBJECTIVES, str(objective["name"]))
    if "mode" not in config.model_fields:
        return objective
    left_out = config.FAITHFUL_ONLY if mode == "repaired" and objective.get("mode") == "faithful" else frozenset()
    return {**{key: value for key, value in objective.items() if key not in left_out}, "mode": mode}


def _without_published_ways(raw: dict[str, Any]) -> dict[str, Any]:
    """The recipe with the product's defaults for them; as written where no objective of it is the published one."""
    if not any(one.get("mode") == "faithful" for one in raw.get("objectives", [])):
        return raw
    less = {
        section: {key: value for key, value in raw[section].items() if key not in keys}
        for section, keys in _PUBLISHED_WAYS.items()
        if section in raw
    }
    return {**raw, **less}


def reproduce(row: Row, context: RunContext, out: Path) -> Reproduced:
    """Run one row to its end."""
    outcome = run_pipeline(make_pipeline(context, out))
    return Reproduced(row.recipe.name, row.dataset, row.student, row.mode, outcome.test, row.printed)


def _published() -> Path:
    return Path(str(files("retort.recipes"))) / "published"
