"""Plan of an experiment: arms × students × seeds, with the same search budget for every arm.

    description = "…"
    base = "beauty_sasrec_plain"            a recipe; arms change it
    protocol = "refit"                      unset: the recipe's
    baseline = "plain"                      the arm that the others are compared with
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
    of = "text"                             the arm whose gain it explains, or a list of several
    trials = [{}, {}]                       unset: the search's; as many as the baseline has
    note = "…"                              a sentence for the report, below the verdict
    [[views]]                               further evaluations of the same weights
    name = "last 3 items"
    set = { "evaluation.last_items" = 3 }
    [slices]                                upper edges of the slices of test cases; unset: the default edges
    history_length = [5, 10, 30, 100]

Trials are trained under protocol "held" with the first seed, and validation alone selects one. The test selects
nothing. All arms are evaluated on the same cases, and none may train longer than the baseline (`plan_files.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from retort.offline.common.plugins import load_config
from retort.offline.common.section import MAX_SEED, Section
from retort.offline.recipes.recipe import STUDENTS, Recipe, parse_recipe
from retort.offline.recipes.recipe_files import read_recipe, with_keys

Keys = dict[str, Any]
SliceColumn = Literal["history_length", "train_length", "target_popularity"]


class ArmConfig(Section):
    """One `[[arms]]`: a recipe, or the base, with a few keys changed."""

    name: str = Field(min_length=1, pattern=r"^[^/\\]+$", description="name in the tables")
    recipe: str | None = Field(None, description="another recipe than base")
    students: list[str] | None = Field(None, min_length=1, description="unset: all of the file's")
    set: Keys = Field({}, description="keys of this arm's runs")
    objectives: list[dict[str, Any]] | None = Field(None, description="in place of the recipe's; unset: the recipe's")
    control: bool = Field(False, description="a control: knows less on purpose, so its gain is not knowledge")
    of: str | list[str] | None = Field(None, description="control: the arm, or arms, whose gain it explains")
    trials: list[Keys] | None = Field(None, description="unset: those of [search]")
    note: str = Field("", description="a sentence for the report, below the arm's verdict")

    @property
    def explains(self) -> list[str]:
        """The arms that `of` names."""
        return [] if self.of is None else [self.of] if isinstance(self.of, str) else self.of


class ViewConfig(Section):
    """One `[[views]]`: another evaluation of the same weights."""

    name: str = Field(min_length=1, description="name in the tables")
    set: Keys = Field(description="keys of `evaluation` alone")


class SearchConfig(Section):
    """`[search]`: the settings that every arm may select from."""

    trials: list[Keys] = Field([{}], min_length=1, description="settings that validation selects from")


class PlanConfig(Section):
    """A whole experiment file."""

    description: str = Field("", description="one line for the report")
    base: str = Field(description="the recipe that arms change")
    protocol: Literal["held", "refit"] | None = Field(None, description="unset: the recipe's")
    baseline: str = Field(description="the arm that the others are compared with")
    students: list[str] | None = Field(None, min_length=1, description="unset: the recipe's")
    student_keys: dict[str, Keys] = Field({}, description="keys of one student in every arm, by its name")
    seeds: list[Annotated[int, Field(ge=0, le=MAX_SEED)]] = Field(
        [0, 1, 2, 3, 4], min_length=1, description="of the runs; trials are trained with the first"
    )
    floors: list[Literal["popularity", "item_knn", "ease"]] = Field(
        ["popularity"], description="rankers without training, evaluated on the same cases"
    )
    set: Keys = Field({}, description="keys of every run")
    search: SearchConfig = Field(SearchConfig(), description="the settings that every arm may select from")
    arms: list[ArmConfig] = Field(min_length=1, description="what is compared")
    views: list[ViewConfig] = Field([], description="further evaluations of the same weights")
    slices: dict[SliceColumn, list[int]] | None = Field(
        None, description="upper edges of the slices of test cases, by column; unset: the default edges of each column"
    )


@dataclass(frozen=True)
class Plan:
    """A checked experiment file.

    written: the file's content. directory: relative recipes are found here.
    command: the words after `retort experiment`, without data and directories.
    """

    name: str
    config: PlanConfig
    written: dict[str, Any]
    directory: Path
    command: str = ""

    @property
    def title(self) -> str:
        """The description, followed by the name where --set made another experiment of the file; else the name."""
        if not self.config.description:
            return self.name
        return f"{self.config.description} ({self.name})" if " --set " in self.command else self.config.description

    @property
    def arms(self) -> dict[str, ArmConfig]:
        return {arm.name: arm for arm in self.config.arms}

    @property
    def students(self) -> list[str]:
        """The file's students, or the base recipe's."""
        return self.config.students or [self._start(self.config.arms[0]).get("student", {}).get("name", "sasrec")]

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
        """The settings that the arm may select from."""
        own = self.arms[arm].trials
        return self.config.search.trials if own is None else own

    def recipe(self, arm: str, student: str, keys: Mapping[str, Any]) -> Recipe:
        """Build the arm's recipe for a student; `keys` win over all other settings."""
        config = self.arms[arm]
        raw = self._start(config)
        if config.objectives is not None:
            raw = {**raw, "objectives": config.objectives}
        if self.config.protocol is not None:
            raw = {**raw, "protocol": self.config.protocol}
        raw = {**raw, "student": _student_section(student, raw.get("student", {}))}
        shared = self.config.set
        if config.objectives == []:  # keys of objectives are for the arms that have some
            shared = {key: value for key, value in shared.items() if not key.startswith("objectives.")}
        for more in (shared, self.config.student_keys.get(student, {}), config.set, keys):
            raw = with_keys(raw, more)
        return parse_recipe(f"{self.name}_{arm}_{student}".replace(" ", "_"), raw)

    def baseline_recipe(self, keys: Mapping[str, Any] | None = None) -> Recipe:
        """Build the baseline's recipe for the first student: data, split and evaluation of the whole experiment."""
        return self.recipe(self.config.baseline, self.students[0], keys or {})

    def _start(self, arm: ArmConfig) -> dict[str, Any]:
        return read_recipe(arm.recipe or self.config.base, self.directory)[1]


def _student_section(student: str, raw: dict[str, Any]) -> dict[str, Any]:
    """The recipe's `[student]` for another student, with the keys that both have, such as max_length."""
    if raw.get("name", "sasrec") == student:
        return raw
    known = load_config(STUDENTS, student).model_fields
    return {"name": student, **{key: value for key, value in raw.items() if key in known and key != "name"}}
