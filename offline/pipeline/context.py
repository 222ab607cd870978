"""The context of a run, the files that steps leave for each other, and which step left what."""

from dataclasses import dataclass
from pathlib import Path

import orjson
from sqlalchemy import Engine

from retort.offline.common.progress import Progress
from retort.offline.data.load import Loaded, load_saved
from retort.offline.pipeline.dag import Pipeline
from retort.offline.recipes.recipe import Recipe
from retort.shared.base.settings import LanguageModelSettings

PROFILES_FILE = "profiles.parquet"
VECTORS_FILE = "vectors.parquet"
STUDENT_FILE = "student.safetensors"
TRAINING_FILE = "training.json"
VALIDATION_FILE = "validation_ranks.npy"
METRICS_FILE = "metrics.json"
USERS_FILE = "users.parquet"
BUNDLE_FILE = "bundle.json"


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


def load_tables(pipeline: Pipeline[RunContext]) -> Loaded:
    """The cleaned tables that the data step left."""
    return load_saved(pipeline.ensure_path("data"))


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
