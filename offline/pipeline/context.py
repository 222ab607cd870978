"""What the steps are told, the files they leave for each other, and which step left what."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from retort.offline.common.progress import Progress
from retort.offline.data.load import Loaded, load_saved
from retort.offline.pipeline.dag import Line
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
class Context:
    """What the steps are told: the recipe, where the raw data lies, where profiles are kept, and who listens."""

    recipe: Recipe
    data_dir: Path | None
    engine: Engine
    language_model: LanguageModelSettings
    progress: Progress

    bundles_dir: Path | None = None


def tables_of(line: Line[Context]) -> Loaded:
    """The cleaned tables."""
    return load_saved(line.path("data"))


def asked_split(line: Line[Context]) -> str:
    """The step that left the split whose test is asked."""
    return "split_refit" if "split_refit" in line.steps else "split"


def validated(line: Line[Context]) -> dict[str, float]:
    """What the held training found, at the places that the recipe asks for now; nothing where a refit was told its
    epochs."""
    import numpy as np

    from retort.offline.evaluation.evaluate import means

    if "train" not in line.steps:
        return {}
    ranks = np.load(line.path("train") / VALIDATION_FILE, allow_pickle=False)
    return means(ranks, line.context.recipe.evaluation.k)


def trained(line: Line[Context]) -> str:
    """The step that left the weights."""
    return "refit" if "refit" in line.steps else "train"
