"""Experiment files: reading, and the checks that keep the arms comparable."""

import tomllib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from retort.offline.common.section import parse_section
from retort.offline.experiments.plan import ArmConfig, Keys, Plan, PlanConfig
from retort.offline.recipes.recipe import Recipe
from retort.offline.recipes.recipe_files import parse_override, read_recipe
from retort.shared.base.errors import RecipeError

_SHARED_SECTIONS = ("protocol", "split", "evaluation", "data")
_TEXT_KEYS = ("text_columns", "text_template")  # knowledge of the items, not part of what is evaluated


def shipped_plans() -> dict[str, Path]:
    """Find the experiments that come with the product; name → file."""
    folder = Path(str(files("retort.recipes"))) / "experiments"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read_plan(reference: Path, overrides: Sequence[str] = (), name: str | None = None) -> Plan:
    """Read and check an experiment, including its recipes, by its file or its shipped name.

    Args:
        reference: A .toml file, or the name of a shipped experiment.
        overrides: `section.key=value` for every arm. They make another experiment, which requires another `name`.
        name: Name of the experiment; None: the file's.

    Raises:
        RecipeError: The file is missing, is not TOML, or declares arms that cannot be compared.
    """
    if overrides and name is None:
        raise RecipeError("--set makes this another experiment; give it a name of its own with --name.")
    path, written = _read_file(reference)
    # no directories: a report is read on other machines
    shown = path.stem if shipped_plans().get(path.stem) == path else path.name
    words = [*_set_words(overrides), *([f"--name {name}"] if name else [])]
    return parse_plan(name or path.stem, _with_set(written, overrides), path.parent, " ".join(["run", shown, *words]))


def read_profile_plan(kind: str, recipe: str, overrides: Sequence[str], n_seeds: int) -> Plan:
    """Read a shipped experiment about profiles (staleness, coldstart, robustness), with another recipe as its base.

    Raises:
        RecipeError: The recipe has no objective, so there is nothing to compare.
    """
    path, written = _read_file(Path(kind))
    base = str(Path(recipe).absolute()) if Path(recipe).is_file() else recipe
    name = Path(recipe).stem
    if read_recipe(base, Path.cwd())[1].get("objectives", []) == []:
        raise RecipeError(f"recipe {name} has no teacher; an experiment about profiles requires a recipe that has one.")
    written = {**_with_set(written, overrides), "base": base, "seeds": list(range(n_seeds))}
    return parse_plan(f"{kind}-{name}", written, path.parent, " ".join([kind, name, *_set_words(overrides)]))


def _read_file(reference: Path) -> tuple[Path, dict[str, Any]]:
    shipped = shipped_plans()
    path = reference if reference.suffix else shipped.get(str(reference), reference)
    try:
        return path, tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        names = ", ".join(shipped)
        raise RecipeError(f"there is no experiment {path}; name a .toml file, or one of: {names}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecipeError(f"{path}: {error}; it must be TOML.") from None


def _with_set(written: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    keys = dict(parse_override(override) for override in overrides)
    return {**written, "set": {**written.get("set", {}), **keys}} if keys else written


def _set_words(overrides: Sequence[str]) -> list[str]:
    return [f"--set {override}" for override in overrides]


def parse_plan(name: str, written: dict[str, Any], directory: Path, command: str = "") -> Plan:
    """Check the content of an experiment file.

    Raises:
        RecipeError: A key is unknown, or the arms cannot be compared.
    """
    plan = Plan(name, parse_section(PlanConfig, written, name), written, directory, command or f"run {name}")
    _check_arms(plan)
    _check_budgets(plan)
    for view in plan.config.views:
        if odd := [key for key in view.set if not key.startswith("evaluation.")]:
            raise RecipeError(
                f"view {view.name!r} sets {odd[0]!r}; a view evaluates the same weights: set evaluation.… alone."
            )
    for arm, student in plan.rows:
        for keys in plan.trials(arm):
            _check_trial(plan.recipe(arm, student, keys), keys)
    return plan


def _check_arms(plan: Plan) -> None:
    names = [arm.name for arm in plan.config.arms]
    if double := {name for name in names if names.count(name) > 1}:
        raise RecipeError(f"two arms are called {double.pop()!r}; give each a name of its own.")
    if plan.config.baseline not in names:
        raise RecipeError(f"baseline = {plan.config.baseline!r} is no arm; arms are: {', '.join(names)}.")
    for arm in plan.config.arms:
        _check_students(plan, arm)
        if arm.of is not None and (not arm.control or not arm.explains or set(arm.explains) - set(names)):
            raise RecipeError(f"arm {arm.name!r}: of = {arm.of!r} requires control = true and the name of another arm.")
    if odd := [name for name in plan.config.student_keys if name not in plan.students]:
        raise RecipeError(
            f"[student_keys.{odd[0]}] is for no student of this file; students: {', '.join(plan.students)}."
        )


def _check_students(plan: Plan, arm: ArmConfig) -> None:
    """Every student of an arm needs the baseline, and every student of a control the arm that it explains."""
    mine = arm.students or plan.students
    if odd := [name for name in mine if name not in plan.students]:
        raise RecipeError(f"arm {arm.name!r} names {odd[0]!r}; students of this file: {', '.join(plan.students)}.")
    for other in (plan.config.baseline, *arm.explains):
        if other in plan.arms and (lacking := set(mine) - set(plan.arms[other].students or plan.students)):
            raise RecipeError(
                f"arm {arm.name!r} requires {other!r} with {sorted(lacking)[0]!r} too; give {other!r} that student."
            )


def _check_budgets(plan: Plan) -> None:
    budget = len(plan.trials(plan.config.baseline))
    for name in plan.arms:
        if (n_trials := len(plan.trials(name))) != budget:
            raise RecipeError(
                f"arm {name!r} has {n_trials} trial(s) and the baseline {budget}; every arm has the same search "
                "budget, so give both as many (a trial may repeat another with a further training.seed)."
            )


def _check_trial(recipe: Recipe, keys: Keys) -> None:
    if recipe.training.refit_epochs is not None:
        raise RecipeError(f"{recipe.name}: an experiment sets training.refit_epochs itself; remove the key.")
    if odd := [key for key in keys if key.startswith(("evaluation", "split", "data", "protocol"))]:
        raise RecipeError(
            f"{recipe.name}: a trial sets {odd[0]!r}, which would change what is evaluated; set it in [set] instead."
        )


def check_comparability(plan: Plan) -> None:
    """Check that arms differ from the baseline only in what they know and how they learn.

    Raises:
        RecipeError: An arm has another split, evaluation, protocol or data than the baseline, or more epochs.
    """
    baseline = plan.config.baseline
    for arm, student in plan.rows:
        expected, actual = (_shared_settings(plan.recipe(name, student, {})) for name in (baseline, arm))
        if odd := [section for section in _SHARED_SECTIONS if actual[section] != expected[section]]:
            raise RecipeError(
                f"arm {arm!r} has another {odd[0]} than the baseline, so the two are not evaluated on the same cases; "
                "set it for all arms in [set], or make it an experiment of its own (--set … --name …)."
            )
        epochs, longest = (_most_epochs(plan, name, student) for name in (arm, baseline))
        if epochs > longest:
            raise RecipeError(
                f"arm {arm!r} may train {epochs} epochs and the baseline {longest}; give the baseline a trial that "
                "is as long."
            )


def _shared_settings(recipe: Recipe) -> dict[str, Any]:
    settings = recipe.as_json()
    data = {key: value for key, value in settings["data"].items() if key not in _TEXT_KEYS}
    return {**{section: settings[section] for section in _SHARED_SECTIONS}, "data": data}


def _most_epochs(plan: Plan, arm: str, student: str) -> int:
    return max(plan.recipe(arm, student, keys).training.epochs for keys in plan.trials(arm))
