"""What an experiment file declares: arms × students × seeds, and a search that costs every arm the same.

    description = "…"
    base = "beauty_sasrec_plain"            a recipe; arms change it
    protocol = "refit"                      unset: the recipe's
    baseline = "plain"                      the arm that others are measured against
    students = ["sasrec", "gru4rec"]        unset: the recipe's
    seeds = [0, 1, 2, 3, 4]
    floors = ["popularity", "ease", "item_knn"]
    [set]                                   keys of every run: "training.epochs" = 40
    [search]
    trials = [{}, { "student.dropout" = 0.3 }]
    [student_keys.gru4rec]                  keys of one student in every arm
    [[arms]]
    name = "plain"
    [[arms]]
    name = "text, shuffled"
    recipe = "beauty_sasrec_text"           unset: base
    students = ["sasrec"]                   unset: all of the file's
    set = { "teacher.item_control" = "shuffled" }
    objectives = [{ name = "text_start" }]  unset: the recipe's
    control = true
    of = "text"                             whose gain it explains, or a list of several
    trials = [{}, {}]                       unset: the search's; as many as the baseline has
    [[views]]                               further looks at the same weights
    name = "last 3 items"
    set = { "evaluation.last_items" = 3 }

Trials are trained held with the first seed, and validation alone chooses. Nothing here is chosen by the test. All arms
are asked the same, and none may train longer than the baseline (`comparability.py`).
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from retort.offline.common.plugins import load_config
from retort.offline.common.section import Section, parse_section
from retort.offline.recipes.recipe import STUDENTS, Recipe, parse_override, parse_recipe, read_recipe, with_keys
from retort.shared.base.errors import RecipeError

Keys = dict[str, Any]
FLOORS = ("popularity", "item_knn", "ease")


class ArmConfig(Section):
    """One `[[arms]]`: a recipe, or the base, with a few keys changed."""

    name: str = Field(min_length=1, pattern=r"^[^/\\]+$", description="as in the table")
    recipe: str | None = Field(None, description="another recipe than base")
    students: list[str] | None = Field(None, min_length=1, description="unset: all of the file's")
    set: Keys = Field({}, description="keys of this arm's runs")
    objectives: list[dict[str, Any]] | None = Field(None, description="in place of the recipe's; unset: the recipe's")
    control: bool = Field(False, description="knows less on purpose; its gain is no knowledge")
    of: str | list[str] | None = Field(None, description="control: the arm, or arms, whose gain it is to explain")
    trials: list[Keys] | None = Field(None, description="unset: those of [search]")

    @property
    def explains(self) -> list[str]:
        """The arms that `of` names."""
        return [] if self.of is None else [self.of] if isinstance(self.of, str) else self.of


class ViewConfig(Section):
    """One `[[views]]`: keys of `evaluation`, asked of the same weights."""

    name: str = Field(min_length=1, description="as in the table")
    set: Keys = Field(description="keys of `evaluation` alone")


class SearchConfig(Section):
    """`[search]`: what every arm may choose from."""

    trials: list[Keys] = Field([{}], min_length=1, description="settings that validation chooses from")


class PlanConfig(Section):
    """A whole experiment file."""

    description: str = Field("", description="one line for the report")
    base: str = Field(description="the recipe that arms change")
    protocol: Literal["held", "refit"] | None = Field(None, description="unset: the recipe's")
    baseline: str = Field(description="the arm that others are measured against")
    students: list[str] | None = Field(None, min_length=1, description="unset: the recipe's")
    student_keys: dict[str, Keys] = Field({}, description="keys of one student in every arm, by its name")
    seeds: list[int] = Field(
        [0, 1, 2, 3, 4], min_length=1, description="of the runs; trials are trained with the first"
    )
    floors: list[Literal["popularity", "item_knn", "ease"]] = Field(
        ["popularity"], description="what needs no training, asked the same"
    )
    set: Keys = Field({}, description="keys of every run")
    search: SearchConfig = Field(SearchConfig(), description="what every arm may choose from")
    arms: list[ArmConfig] = Field(min_length=1, description="what is compared")
    views: list[ViewConfig] = Field([], description="further looks at the same weights")


@dataclass(frozen=True)
class Plan:
    """A checked experiment. `written` is the file's content; `beside` is where relative recipes are looked for.

    asked: what stood behind `retort experiment run`, without data and places.
    """

    name: str
    config: PlanConfig
    written: dict[str, Any]
    beside: Path
    asked: str = ""

    @property
    def arms(self) -> dict[str, ArmConfig]:
        return {arm.name: arm for arm in self.config.arms}

    @property
    def students(self) -> list[str]:
        """The students, or the base recipe's."""
        return self.config.students or [self._start(self.config.arms[0])[1].get("student", {}).get("name", "sasrec")]

    @property
    def rows(self) -> list[tuple[str, str]]:
        """(arm, student) in the order of the table: student by student."""
        return [
            (name, student)
            for student in self.students
            for name, arm in self.arms.items()
            if arm.students is None or student in arm.students
        ]

    def trials(self, arm: str) -> list[Keys]:
        """The settings that the arm may choose from."""
        own = self.arms[arm].trials
        return self.config.search.trials if own is None else own

    def recipe(self, arm: str, student: str, keys: Mapping[str, Any]) -> Recipe:
        """The arm's recipe for a student; `keys` win over all else that is set."""
        config = self.arms[arm]
        _, raw = self._start(config)
        if config.objectives is not None:
            raw = {**raw, "objectives": config.objectives}
        if self.config.protocol is not None:
            raw = {**raw, "protocol": self.config.protocol}
        raw = {**raw, "student": _section_of(student, raw.get("student", {}))}
        for more in (self.config.set, self.config.student_keys.get(student, {}), config.set, keys):
            raw = with_keys(raw, more)
        return parse_recipe(f"{self.name}_{arm}_{student}".replace(" ", "_"), raw)

    def _start(self, arm: ArmConfig) -> tuple[str, dict[str, Any]]:
        return read_recipe(arm.recipe or self.config.base, self.beside)


def _section_of(student: str, raw: dict[str, Any]) -> dict[str, Any]:
    """The recipe's `[student]` for another student: the keys that this one has too, such as max_length."""
    if raw.get("name", "sasrec") == student:
        return raw
    known = load_config(STUDENTS, student).model_fields
    return {"name": student, **{key: value for key, value in raw.items() if key in known and key != "name"}}


def shipped_plans() -> dict[str, Path]:
    """name → file of the experiments that come with the product."""
    folder = Path(str(files("retort.recipes"))) / "experiments"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read_plan(reference: Path, overrides: Sequence[str] = (), name: str | None = None) -> Plan:
    """Read and check an experiment by its file or its shipped name, recipes and all.

    overrides: `section.key=value` for every arm. They make another experiment, which wants another `name`.
    """
    if overrides and name is None:
        raise RecipeError("--set makes this another experiment; give it a name of its own by --name.")
    shipped = shipped_plans()
    path = reference if reference.suffix else shipped.get(str(reference), reference)
    try:
        written = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        told = ", ".join(shipped)
        raise RecipeError(f"there is no experiment {path}; name a .toml file, or one of: {told}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: {error}; it must be TOML.") from None
    keys = dict(parse_override(one) for one in overrides)
    written = {**written, "set": {**written.get("set", {}), **keys}} if keys else written
    # no directories: a report is read on other machines
    called = path.stem if shipped.get(path.stem) == path else path.name
    asked = [called, *(f"--set {one}" for one in overrides), *([f"--name {name}"] if name else [])]
    return parse_plan(name or path.stem, written, path.parent, " ".join(asked))


def parse_plan(name: str, written: dict[str, Any], beside: Path, asked: str = "") -> Plan:
    """The same from what was written."""
    plan = Plan(name, parse_section(PlanConfig, written, name), written, beside, asked or name)
    _check_arms(plan)
    _check_budgets(plan)
    for view in plan.config.views:
        if odd := [key for key in view.set if not key.startswith("evaluation.")]:
            raise RecipeError(
                f"view {view.name!r} sets {odd[0]!r}; a view looks at the same weights, by evaluation.… ."
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
            raise RecipeError(f"arm {arm.name!r}: of = {arm.of!r} wants control = true and the name of another arm.")
    if odd := [name for name in plan.config.student_keys if name not in plan.students]:
        raise RecipeError(
            f"[student_keys.{odd[0]}] is for no student of this file; students: {', '.join(plan.students)}."
        )


def _check_students(plan: Plan, arm: ArmConfig) -> None:
    """An arm stands only beside a baseline, and a control only beside the arm that it explains."""
    mine = arm.students or plan.students
    if odd := [name for name in mine if name not in plan.students]:
        raise RecipeError(f"arm {arm.name!r} names {odd[0]!r}; students of this file: {', '.join(plan.students)}.")
    for other in (plan.config.baseline, *arm.explains):
        if other in plan.arms and (lacking := set(mine) - set(plan.arms[other].students or plan.students)):
            raise RecipeError(
                f"arm {arm.name!r} wants {other!r} with {sorted(lacking)[0]!r} too; give {other!r} that student."
            )


def _check_budgets(plan: Plan) -> None:
    budget = len(plan.trials(plan.config.baseline))
    for name in plan.arms:
        if (n_trials := len(plan.trials(name))) != budget:
            raise RecipeError(
                f"arm {name!r} has {n_trials} trial(s) and the baseline {budget}; every arm searches equally long, so "
                "give both as many (a trial may repeat another with a further training.seed)."
            )


def _check_trial(recipe: Recipe, keys: Keys) -> None:
    if recipe.training.refit_epochs is not None:
        raise RecipeError(f"{recipe.name}: an experiment sets training.refit_epochs itself; remove the key.")
    if odd := [key for key in keys if key.startswith(("evaluation", "split", "data", "protocol"))]:
        raise RecipeError(f"{recipe.name}: a trial sets {odd[0]!r}, which would change the question, not the answer.")
