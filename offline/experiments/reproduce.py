"""Reproduction of the papers' tables: shipped recipes, faithful and repaired, compared with the published numbers.

Recipes are found by name, PAPER_DATASET_STUDENT[_VARIANT]. recipes/published/PAPER.toml holds the published numbers,
the data sets' counts, the evaluation protocol, and what the recipes change. A published number is comparable with ours
only on the same data under the same protocol.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from retort.offline.common.plugins import load_config
from retort.offline.data.tables import Loaded
from retort.offline.pipeline.build import make_pipeline
from retort.offline.pipeline.context import RunContext, load_tables
from retort.offline.pipeline.outcome import run_pipeline
from retort.offline.recipes.recipe import OBJECTIVES, Recipe, parse_recipe
from retort.offline.recipes.recipe_files import parse_override, read_recipe, shipped_recipes, with_keys
from retort.shared.base.errors import RecipeError
from retort.shared.base.schema import ITEM_ID, USER_ID

Mode = Literal["plain", "faithful", "repaired"]
MODES: tuple[Mode, ...] = ("plain", "faithful", "repaired")
COUNTS = ("users", "items", "interactions")
SAME_DATA = 0.01  # largest relative difference of counts between two copies of the same data
_FAITHFUL = "_faithful"
_RANKING = "full"  # what `evaluate` does
# keys of the published code outside of objectives: a repaired run takes the product's defaults
_PUBLISHED_KEYS = {"encoder": ("prefix",)}


@dataclass(frozen=True)
class Published:
    """What a paper states on a table's cell. An absent key is not stated.

    values: metric → value; empty where the paper has no such row. counts: users, items, interactions.
    protocol: split, quantile, target, ranking, hide_seen. differences: what our recipe changes.
    """

    values: Mapping[str, float]
    counts: Mapping[str, int]
    protocol: Mapping[str, Any]
    differences: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """A run for one line of a paper's table."""

    recipe: Recipe
    dataset: str
    student: str
    mode: Mode
    published: Published


@dataclass(frozen=True)
class Reproduced:
    """A finished run and the published row. counts: users, items and interactions of the data at hand."""

    row: Row
    measured: Mapping[str, float]
    counts: Mapping[str, int]

    @property
    def mismatches(self) -> list[str]:
        """Why the two numbers are NOT COMPARABLE; empty where data and protocol agree as far as they are stated."""
        published, recipe = self.row.published, self.row.recipe
        reasons = [
            f"{name}: {self.counts[name]:,} here, {count:,} published"
            for name, count in published.counts.items()
            if abs(self.counts[name] - count) > SAME_DATA * count
        ]
        ours, stated = protocol_of(recipe), dict(published.protocol)
        if stated.get("split") != ours["split"]:  # keys of the published split alone
            stated = {key: value for key, value in stated.items() if key not in ("quantile", "target")}
        return reasons + [
            f"{key}: {_shown(ours[key])} here, {_shown(value)} published"
            for key, value in stated.items()
            if ours[key] != value
        ]

    @property
    def unknown(self) -> list[str]:
        """Counts and settings of the protocol that the paper does not state."""
        published = self.row.published
        return [key for key in COUNTS if key not in published.counts] + [
            key for key in ("split", "ranking", "hide_seen") if key not in published.protocol
        ]


def protocol_of(recipe: Recipe) -> dict[str, Any]:
    """Describe how a recipe evaluates, in the keys of `[protocol]`."""
    split = recipe.split
    return {
        "split": split.method,
        "quantile": split.quantile,
        "target": split.target,
        "ranking": _RANKING,
        "hide_seen": recipe.evaluation.hide_seen,
    }


def count(data: Loaded) -> dict[str, int]:
    """Count users, items and interactions of cleaned data."""
    frame = data.interactions.frame
    return {"users": frame[USER_ID].n_unique(), "items": frame[ITEM_ID].n_unique(), "interactions": len(frame)}


def _shown(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def papers() -> list[str]:
    """List the papers whose numbers are shipped."""
    return sorted(path.stem for path in _published_folder().glob("*.toml"))


def rows_of(paper: str, dataset: str | None, modes: Sequence[Mode] = MODES, overrides: Sequence[str] = ()) -> list[Row]:
    """List the runs of a paper, for one data set or all.

    Raises:
        RecipeError: There is no such paper, or it has no recipe for the data set.
    """
    if paper not in papers():
        raise RecipeError(f"there is no paper {paper!r}; there are: {', '.join(papers())}.")
    stated = tomllib.loads((_published_folder() / f"{paper}.toml").read_text(encoding="utf-8"))
    names = [name for name in shipped_recipes() if name.startswith(f"{paper}_") and not name.endswith(_FAITHFUL)]
    known = list(dict.fromkeys(name.split("_")[1] for name in names))
    if dataset is not None and dataset not in known:
        raise RecipeError(f"{paper} has no recipe for {dataset!r}; it has recipes for: {', '.join(known) or 'none'}.")
    keys = dict(parse_override(override) for override in overrides)
    rows: list[Row] = []
    for name in names:
        _, of_dataset, student, *_ = [*name.split("_"), ""]
        if dataset in (None, of_dataset):
            for mode in modes:
                published = _published(stated, of_dataset, student, mode)
                rows.append(Row(recipe_in(name, mode, keys), of_dataset, student, mode, published))
    return rows


def _published(stated: dict[str, Any], dataset: str, student: str, mode: Mode) -> Published:
    facts = stated.get(dataset, {})
    differences = stated.get("differences", {})
    return Published(
        facts.get(student, {}).get("plain" if mode == "plain" else "taught", {}),
        {key: facts[key] for key in COUNTS if key in facts},
        stated.get("protocol", {}),
        (*differences.get("all", ()), *differences.get(student, ())),
    )


def recipe_in(name: str, mode: Mode, keys: dict[str, Any]) -> Recipe:
    """Build a shipped recipe in a mode: its own faithful twin where there is one, else every objective's `mode` set."""
    twin = f"{name}{_FAITHFUL}"
    _, raw = read_recipe(twin if mode == "faithful" and twin in shipped_recipes() else name, Path.cwd())
    if mode == "plain":
        raw = {key: value for key, value in raw.items() if key != "objectives"}
        keys = {key: value for key, value in keys.items() if not key.startswith("objectives.")}
    else:
        raw = raw if mode == "faithful" else _without_published_keys(raw)
        raw = {**raw, "objectives": [_moded(one, mode) for one in raw.get("objectives", [])]}
    return parse_recipe(f"{name}_{mode}", with_keys(raw, keys))


def _moded(objective: dict[str, Any], mode: Mode) -> dict[str, Any]:
    """The objective in a mode; where a faithful one is repaired, what belongs to the published form is left out."""
    config = load_config(OBJECTIVES, str(objective["name"]))
    if "mode" not in config.model_fields:
        return objective
    left_out = config.FAITHFUL_ONLY if mode == "repaired" and objective.get("mode") == "faithful" else frozenset()
    return {**{key: value for key, value in objective.items() if key not in left_out}, "mode": mode}


def _without_published_keys(raw: dict[str, Any]) -> dict[str, Any]:
    """The recipe with the product's defaults for them; as written where no objective of it is the published one."""
    if not any(one.get("mode") == "faithful" for one in raw.get("objectives", [])):
        return raw
    less = {
        section: {key: value for key, value in raw[section].items() if key not in keys}
        for section, keys in _PUBLISHED_KEYS.items()
        if section in raw
    }
    return {**raw, **less}


def reproduce(row: Row, context: RunContext, out: Path) -> Reproduced:
    """Train and evaluate one row; finished steps in `out` are reused."""
    pipeline = make_pipeline(context, out)
    outcome = run_pipeline(pipeline)
    return Reproduced(row, outcome.test, count(load_tables(pipeline)))


def _published_folder() -> Path:
    return Path(str(files("retort.recipes"))) / "published"
