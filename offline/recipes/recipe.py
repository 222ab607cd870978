"""A recipe: one TOML file that describes a whole run, without the directories it reads and writes.

    extends = "beauty_sasrec_plain"      the recipe it starts from (its name, or a path relative to this file);
                                         a [data] with a source of its own inherits no options
    protocol = "held" | "refit"
    [data] [split] [knowledge] [profiles] [encoder] [reducer] [teacher] [student] [training] [export] [[objectives]]
    [evaluation]

Each section is validated by the class that uses it; unknown sections and keys are refused. A recipe without objectives
is a plain run, which requires no profiles, encoder or teacher.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from retort.offline.common.plugins import load_config
from retort.offline.common.section import Section, parse_section
from retort.offline.data.load import DataConfig
from retort.offline.data.split import Protocol, SplitConfig
from retort.offline.distillation.configs._base import ObjectiveConfig
from retort.offline.embeddings.encoder_config import EncoderConfig
from retort.offline.embeddings.reducer_config import ReducerConfig
from retort.offline.embeddings.tfidf import TFIDF
from retort.offline.evaluation.evaluate import EvaluationConfig
from retort.offline.export.config import ExportConfig
from retort.offline.knowledge.config import KnowledgeConfig
from retort.offline.profiles.config import ProfilesConfig
from retort.offline.recipes.recipe_files import read_recipe, with_override
from retort.offline.students.configs._base import StudentConfig
from retort.offline.teachers.config import TeacherConfig
from retort.offline.training.config import TrainingConfig
from retort.shared.base.errors import RecipeError

STUDENTS = "retort.offline.students"
OBJECTIVES = "retort.offline.distillation"
SECTIONS: dict[str, type[Section]] = {
    "data": DataConfig,
    "split": SplitConfig,
    "knowledge": KnowledgeConfig,
    "profiles": ProfilesConfig,
    "encoder": EncoderConfig,
    "reducer": ReducerConfig,
    "teacher": TeacherConfig,
    "training": TrainingConfig,
    "export": ExportConfig,
    "evaluation": EvaluationConfig,
}
_PLAIN_KEYS = ("description", "protocol", "extends", "student", "objectives")


@dataclass(frozen=True)
class Recipe:
    """A validated recipe. `raw`: its content as written, after `extends` and `--set`."""

    name: str
    raw: dict[str, Any]
    protocol: Protocol
    data: DataConfig
    split: SplitConfig
    knowledge: KnowledgeConfig
    profiles: ProfilesConfig
    encoder: EncoderConfig
    reducer: ReducerConfig
    teacher: TeacherConfig
    student_name: str
    student: StudentConfig
    training: TrainingConfig
    export: ExportConfig
    objectives: tuple[ObjectiveConfig, ...]
    evaluation: EvaluationConfig

    @property
    def finds_epochs(self) -> bool:
        """Whether the run trains on the held split: as its result, or to find the epochs of the refit."""
        return self.protocol == "held" or self.training.refit_epochs is None

    @property
    def is_plain(self) -> bool:
        """Whether the student learns from the interactions alone."""
        return not self.objectives

    def plain(self) -> "Recipe":
        """The same run without a teacher: the baseline of a distilled run."""
        return replace(self, objectives=(), name=f"{self.name} (plain)")

    @property
    def reads_profiles(self) -> bool:
        """Whether its teacher is made from profiles of users; ready vectors of users replace them."""
        return "users" in self.teacher_parts() and self.teacher.users == "profiles"

    def teacher_parts(self) -> frozenset[str]:
        """The parts of the teacher that its objectives use: "users", "items", "lists"."""
        needs: set[str] = set()
        for objective in self.objectives:
            needs |= objective.needs
        if needs and self.teacher.control == "history_mean":
            needs.add("items")
        if needs and self.teacher.selection.by != "none":
            needs.add("lists")
        if "lists" in needs and self.teacher.lists_read_vectors:
            needs.add("items")
        return frozenset(needs)

    def as_json(self) -> dict[str, Any]:
        """The whole recipe, defaults included, as a bundle records it."""
        sections = {name: getattr(self, name).model_dump(mode="json") for name in SECTIONS}
        return {
            "name": self.name,
            "protocol": self.protocol,
            **sections,
            "student": {"name": self.student_name, **self.student.model_dump(mode="json")},
            "objectives": [objective.model_dump(mode="json") for objective in self.objectives],
        }


def load_recipe(reference: str, overrides: Iterable[str] = ()) -> Recipe:
    """Load a recipe by its shipped name or its path, with `key.path=value` overrides.

    Raises:
        RecipeError: There is no such recipe, or it is invalid.
    """
    name, raw = read_recipe(reference, Path.cwd())
    for override in overrides:
        raw = with_override(raw, override)
    return parse_recipe(name, raw)


def parse_recipe(name: str, raw: dict[str, Any]) -> Recipe:
    """Validate the content of a recipe.

    Raises:
        RecipeError: A section, key, value or combination is invalid.
    """
    known = (*SECTIONS, *_PLAIN_KEYS)
    if unknown := [key for key in raw if key not in known]:
        raise RecipeError(
            f"recipe {name}: unknown section or key {unknown[0]!r}; known are: {', '.join(sorted(known))}."
        )
    sections: dict[str, Any] = {
        section: parse_section(kind, _table(raw, section), section) for section, kind in SECTIONS.items()
    }
    student_name, student = _student(_table(raw, "student"))
    protocol = _protocol(raw.get("protocol", "held"))
    if protocol == "held" and sections["training"].refit_epochs is not None:
        raise RecipeError('[training] refit_epochs requires protocol = "refit"; remove it, or change the protocol.')
    if protocol == "refit" and sections["training"].max_minutes is not None:
        raise RecipeError('[training] max_minutes requires protocol = "held"; remove it, or change the protocol.')
    objectives = _objectives(raw.get("objectives", []))
    # a plain recipe, such as an experiment's baseline, does not use its [teacher]
    if (
        objectives
        and sections["teacher"].weights.by != "none"
        and not any(objective.WEIGHS_USERS for objective in objectives)
    ):
        raise RecipeError("only the objective 'profile' uses [teacher.weights]; add it, or remove the key `by`.")
    _check_ready_users(sections)
    if not sections["encoder"].items_comparable:
        _check_one_space(objectives)
    return Recipe(
        name=name,
        raw=raw,
        protocol=protocol,
        student_name=student_name,
        student=student,
        objectives=objectives,
        **sections,
    )


def _check_ready_users(sections: Mapping[str, Any]) -> None:
    """Refuse ready vectors of users together with what only profiles have."""
    teacher = sections["teacher"]
    if teacher.users != "file":
        return
    if teacher.weights.by != "none":
        raise RecipeError('[teacher] users = "file" has no texts, so no faithfulness; remove [teacher.weights] by.')
    if sections["encoder"].shards is not None:
        raise RecipeError('[teacher] users = "file" encodes no texts of users; remove [encoder] shards.')


def _check_one_space(objectives: tuple[ObjectiveConfig, ...]) -> None:
    """Refuse objectives that compare vectors of profiles with those of items where these are in different spaces."""
    if comparing := [objective.name for objective in objectives if {"users", "items"} <= objective.needs]:
        raise RecipeError(
            f"[encoder] model = {TFIDF!r} and [[encoder.views]] give users and items spaces of their own, and "
            f"objective {comparing[0]!r} compares the two; choose another encoder or another objective."
        )


def _table(raw: dict[str, Any], section: str) -> dict[str, Any]:
    value = raw.get(section, {})
    if not isinstance(value, dict):
        raise RecipeError(f"{section} = {value!r} is not a section; write [{section}] and its keys below.")
    return value


def _protocol(value: Any) -> Protocol:
    choices: dict[str, Literal["held", "refit"]] = {"held": "held", "refit": "refit"}
    if value not in choices:
        raise RecipeError(f'protocol = {value!r}; write "held" or "refit".')
    return choices[value]


def _student(raw: dict[str, Any]) -> tuple[str, StudentConfig]:
    name = str(raw.get("name", "sasrec"))
    kind = load_config(STUDENTS, name)
    config = parse_section(kind, {key: value for key, value in raw.items() if key != "name"}, "student")
    return name, config


def _objectives(raw: Any) -> tuple[ObjectiveConfig, ...]:
    if not isinstance(raw, list) or not all(isinstance(entry, dict) and "name" in entry for entry in raw):
        raise RecipeError('objectives are written as [[objectives]], each with a name, such as name = "profile".')
    return tuple(
        parse_section(load_config(OBJECTIVES, str(entry["name"])), entry, f"objectives.{position}")
        for position, entry in enumerate(raw)
    )
