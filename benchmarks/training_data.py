"""Data and settings that all programs of the training benchmark share."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from sqlalchemy import create_engine

from retort.offline.common.progress import Silent
from retort.offline.data.split import Cases, Split
from retort.offline.data.split_store import load_split
from retort.offline.pipeline.build import make_pipeline
from retort.offline.pipeline.context import RunContext
from retort.offline.recipes.recipe import Recipe
from retort.offline.training.config import TrainingConfig
from retort.offline.training.mutual_distillation import only
from retort.shared.base.settings import LanguageModelSettings

_TESTED, _VALIDATED = 4_000, 2_000
# Retort's loss and the number of negatives; "cheapest" draws one for each target, in all programs.
SETTINGS = {"cheapest": ("bce", 1), "512": ("sampled_softmax", 512), "full": ("full_softmax", None)}


def training_of(recipe: Recipe, setting: str, **more: object) -> TrainingConfig:
    """Return the recipe's training with the loss of the setting, on the newest window of each history."""
    loss, negatives = SETTINGS[setting]
    update = {"loss": loss, "negatives": negatives or 1, "epochs": 100_000, "every_window": False, **more}
    if loss != "sampled_softmax":
        update["popularity_power"] = 0.0
    return recipe.training.model_copy(update=update)


def histories_of(recipe: Recipe, data: Path, out: Path, users: int | None = None) -> Split:
    """The data, or the train events of their first users, split as the recipe says."""
    context = RunContext(recipe, data, create_engine("sqlite://"), LanguageModelSettings(), Silent())
    split = load_split(make_pipeline(context, out).ensure_path("split"))
    if users is None:
        return split
    return replace(only(split, np.arange(len(split.train)) < users)[0], validation=split.validation)


def test_cases(split: Split) -> Cases:
    """The test cases that are ranked: the same for all."""
    return _some_of(split.test, _TESTED)


def validation_cases(split: Split) -> Cases:
    """The validation cases that end a training: the same for all."""
    assert split.validation is not None
    return _some_of(split.validation, _VALIDATED)


def _some_of(cases: Cases, most: int) -> Cases:
    rows = np.random.default_rng(0).permutation(len(cases))[:most]
    return cases.take(rows)


def write_for_peers(split: Split, directory: Path) -> Path:
    """The same histories as arrays, and in RecTools' columns (a day lies between two events of a user)."""
    train = split.train
    arrays = {"values": train.values, "offsets": train.offsets, "n_items": np.asarray(len(split.item_index))}
    for name, cases in (("test", test_cases(split)), ("validation", validation_cases(split))):
        arrays |= {f"{name}_values": cases.histories.values, f"{name}_offsets": cases.histories.offsets}
        arrays[f"{name}_targets"] = cases.targets
    np.savez(directory / "data.npz", **arrays)  # type: ignore[arg-type]
    day = np.concatenate([np.arange(length) for length in train.lengths])
    users = np.repeat(np.arange(len(train)), train.lengths)
    frame = pl.DataFrame({"user_id": users, "item_id": train.values, "day": day})
    when = pl.datetime(2026, 1, 1) + pl.duration(days="day")
    frame.select("user_id", "item_id", weight=1.0, datetime=when).write_csv(directory / "data.csv")
    return directory / "data.npz"
