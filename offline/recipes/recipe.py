"""A recipe: one TOML file that describes a whole run, without the directories it reads and writes.

    extends = "beauty_sasrec_plain"      the recipe it starts from (its name, or a path relative to this file);
                                         a [data] with a source of its own inherits no options
    protocol = "held" | "refit"
    [data] [split] [knowledge] [profiles] [encoder] [reducer] [teacher] [student] [training] [export] [[objectives]]
    [evaluation]

Each section is validated by the class that uses it; unknown sections and keys are refused. A recipe without objectives
is a plain run, which requires no profiles, encoder or teacher.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from retort.offline.common.plugins import load_config
from retort.offline.common.section import Section, parse_section
from retort.offline.data.load import DataConfig
from retort.offline.data.split import Protocol, SplitConfig
from retort.offline.distillation.configs._base import ObjectiveConfig
from retort.offline.embeddings.encoder_config import EncoderConfig
from retort.offline.embeddings.reducer import ReducerConfig
from retort.offline.embeddings.tfidf import TFIDF
from retort.offline.evaluation.evaluate import EvaluationConfig
from retort.offline.export.config import ExportConfig
from retort.offline.knowledge.config import KnowledgeConfig
from retort.offline.profiles.config import ProfilesConfig
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


def shipped_recipes() -> dict[str, Path]:
    """name → file of the shipped recipes."""
    folder = Path(str(files("retort.recipes")))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load_recipe(reference: str, overrides: Iterable[str] = ()) -> Recipe:
    """Load a recipe by its shipped name or its path, with `key.path=value` overrides.

    Raises:
        RecipeError: There is no such recipe, or it is invalid.
    """
    name, raw = read_recipe(reference, Path.cwd())
    for override in overrides:
        raw = _overridden(raw, override)
    return parse_recipe(name, raw)


def read_recipe(reference: str, directory: Path) -> tuple[str, dict[str, Any]]:
    """Read a recipe's name and content, after `extends`. A relative path starts at `directory`."""
    path = _find(reference, directory)
    return path.stem, _read(path, ())


def with_keys(raw: dict[str, Any], keys: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a recipe's content with values set by dotted keys, such as `student.dropout` or `objectives.0.weight`."""
    for key, value in keys.items():
        raw = _with(raw, key.split("."), value, f"{key}={value}")
    return raw


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


def _find(reference: str, directory: Path, extending: Path | None = None) -> Path:
    """Find a recipe; a file that extends a shipped recipe of its own name means the shipped one."""
    path, shipped = directory / reference, shipped_recipes()
    if path.suffix == ".toml" and path.is_file():
        return path
    if reference and "/" not in reference:
        named = path.with_suffix(".toml")
        if named.is_file() and (named != extending or reference not in shipped):
            return named
    if reference in shipped:
        return shipped[reference]
    near = get_close_matches(Path(reference).stem, shipped, n=3)
    meant = f" Did you mean {' or '.join(near)}?" if near else ""
    raise RecipeError(
        f"there is no recipe {reference!r}; give an existing .toml file, or a name that `retort recipes` lists.{meant}"
    )


def _read(path: Path, before: tuple[Path, ...]) -> dict[str, Any]:
    if path in before:
        raise RecipeError(f"{path.name} extends itself; remove an `extends` from {' → '.join(p.name for p in before)}.")
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecipeError(f"{path}: {error}; it must be TOML.") from None
    base = raw.pop("extends", None)
    if base is None:
        return raw
    return _merged(_without_options(_read(_find(str(base), path.parent, path), (*before, path)), raw), raw)


def _without_options(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Drop the base's options where `over` names a source: options belong to a source."""
    data, own = base.get("data"), over.get("data")
    if not isinstance(data, dict) or not isinstance(own, dict) or "source" not in own:
        return base
    return {**base, "data": {key: value for key, value in data.items() if key != "options"}}


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Merge tables key by key; replace anything else."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def parse_override(override: str) -> tuple[str, Any]:
    """Parse `section.key=value` into a dotted key and its value."""
    path, separator, text = override.partition("=")
    if not separator or not all(path.strip().split(".")):
        raise RecipeError(f"--set {override!r}: write it as section.key=value.")
    return path.strip(), _value(text.strip())


def _overridden(raw: dict[str, Any], override: str) -> dict[str, Any]:
    path, value = parse_override(override)
    return _with(raw, path.split("."), value, override)


def _with(node: Any, keys: list[str], value: Any, override: str) -> Any:
    if not keys:
        return value
    key, rest = keys[0], keys[1:]
    if isinstance(node, list):
        if not key.isdigit() or int(key) >= len(node):
            raise RecipeError(
                f"--set {override!r}: the list has {len(node)} entries, numbered from 0; {key!r} is not one."
            )
        position = int(key)
        return [*node[:position], _with(node[position], rest, value, override), *node[position + 1 :]]
    if not isinstance(node, dict):
        raise RecipeError(f"--set {override!r}: {key!r} is a key of a value; only sections have keys.")
    return {**node, key: _with(node.get(key, {}), rest, value, override)}


def _value(text: str) -> Any:
    """Parse a TOML value. Anything else is text, so that quotes may be omitted on a command line."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
