"""The context of a run, the files that steps leave for each other, and which step left what."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import polars as pl
from sqlalchemy import Engine

from retort.offline.common.progress import Progress
from retort.offline.data.interactions import Items
from retort.offline.data.tables import Loaded, load_saved
from retort.offline.knowledge.config import KnowledgeConfig
from retort.offline.pipeline.dag import Pipeline
from retort.offline.profiles.config import IMPORTED, ProfilesConfig
from retort.offline.recipes.recipe import Recipe
from retort.offline.teachers.config import TeacherConfig
from retort.shared.base.settings import LanguageModelSettings

ITEMS_FILE = "items.parquet"
PROFILES_FILE = "profiles.parquet"
VECTORS_FILE = "vectors.parquet"
STUDENT_FILE = "student.safetensors"
TRAINING_FILE = "training.json"
VALIDATION_FILE = "validation_ranks.npy"
METRICS_FILE = "metrics.json"
RETRIEVAL_FILE = "retrieval.json"
PARITY_FILE = "parity.json"
USERS_FILE = "users.parquet"
KNOWLEDGE_FILE = "knowledge.parquet"
BUNDLE_FILE = "bundle.json"
KNOWLEDGE_STEP = "knowledge"


@dataclass(frozen=True)
class RunContext:
    """Everything that a step may read besides files of other steps.

    data_dir: the raw data; None for sources that need none. engine: the database of profiles and published bundles.
    bundles_dir: where bundles are published; None for a run that does not publish.
    """

    recipe: Recipe
    data_dir: Path | None
    engine: Engine
    language_model: LanguageModelSettings
    progress: Progress

    bundles_dir: Path | None = None


def make_context(
    recipe: Recipe, data: Path | None, engine: Engine, progress: Progress, bundles_dir: Path | None = None
) -> RunContext:
    """The context of a run in this process: the language model is that of the environment's settings."""
    data_dir = data.absolute() if data else None
    return RunContext(recipe, data_dir, engine, LanguageModelSettings(), progress, bundles_dir)


@dataclass(frozen=True)
class Plan:
    """What the steps of a run are made from.

    config: the recipe as JSON, defaults included. teacher_parts: the parts of the teacher that its objectives use.
    choices: hash of what users decided about their profiles; None if there is nothing or no profile is read.
    corrections: hash of people's corrections of item knowledge; None if there is none.
    """

    recipe: Recipe
    config: dict[str, Any]
    teacher_parts: frozenset[str]
    data_dir: Path | None
    language_model: LanguageModelSettings
    choices: str | None = None
    corrections: str | None = None


def make_plan(
    recipe: Recipe,
    data_dir: Path | None,
    language_model: LanguageModelSettings,
    choices: str | None = None,
    corrections: str | None = None,
) -> Plan:
    """The plan of a recipe. `language_model` selects the backend of profiles where the recipe says "auto"."""
    return Plan(recipe, recipe.as_json(), recipe.teacher_parts(), data_dir, language_model, choices, corrections)


def in_data_directory(config: TeacherConfig, data_dir: Path | None) -> TeacherConfig:
    """The configuration with relative paths of given lists and vectors taken from the data directory."""
    if data_dir is None:
        return config
    paths = {"lists_path": config.lists_path, "items_path": config.items_path, "users_path": config.users_path}
    return config.model_copy(update={key: data_dir / path for key, path in paths.items() if path is not None})


def profiles_in_data_directory(config: ProfilesConfig, data_dir: Path | None) -> ProfilesConfig:
    """The configuration with a relative path of ready profiles taken from the data directory."""
    path = config.options.get("path")
    if config.backend != IMPORTED or path is None or data_dir is None or Path(str(path)).is_absolute():
        return config
    return config.model_copy(update={"options": {**config.options, "path": str(data_dir / str(path))}})


def knowledge_in_data_directory(config: KnowledgeConfig, data_dir: Path | None) -> KnowledgeConfig:
    """The configuration with a relative path of ready item knowledge taken from the data directory."""
    if config.path is None or data_dir is None:
        return config
    return config.model_copy(update={"path": data_dir / config.path})


def load_tables(pipeline: Pipeline[RunContext]) -> Loaded:
    """The cleaned tables that the data step left; their items have no knowledge that `[knowledge]` adds."""
    return load_saved(pipeline.ensure_path("data"))


def load_items(pipeline: Pipeline[RunContext]) -> Items:
    """The items with their knowledge where the recipe has `[knowledge]`. A step that calls it needs `items_from`."""
    if KNOWLEDGE_STEP in pipeline.steps:
        return Items(pl.read_parquet(pipeline.ensure_path(KNOWLEDGE_STEP) / ITEMS_FILE))
    return load_tables(pipeline).items


def items_from(plan: Plan) -> tuple[str, ...]:
    """The steps that leave the items which `load_items` reads."""
    return ("data", KNOWLEDGE_STEP) if plan.recipe.knowledge.is_on else ("data",)


def evaluated_split_step(pipeline: Pipeline[RunContext]) -> str:
    """The step that left the split whose test cases are evaluated."""
    return "split_refit" if "split_refit" in pipeline.steps else "split"


def weights_step(pipeline: Pipeline[RunContext]) -> str:
    """The step that left the student's weights."""
    return "refit" if "refit" in pipeline.steps else "train"


def bundle_path(pipeline: Pipeline[RunContext]) -> Path:
    """Directory of the sealed bundle."""
    receipt = orjson.loads((pipeline.ensure_path("seal") / BUNDLE_FILE).read_bytes())
    return pipeline.store.bundles / receipt["bundle_id"]
