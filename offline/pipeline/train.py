"""Sequences and teacher → a student's weights."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from retort.offline.common.plugins import load_plugin
from retort.offline.data.split_store import load_split
from retort.offline.pipeline.context import (
    PROFILES_FILE,
    STUDENT_FILE,
    TRAINING_FILE,
    VALIDATION_FILE,
    VECTORS_FILE,
    Context,
)
from retort.offline.pipeline.dag import Line
from retort.offline.pipeline.lists import beside_data
from retort.offline.recipes.recipe import OBJECTIVES, STUDENTS, Recipe


def train_step(line: Line[Context], work: Path) -> None:
    import numpy as np

    fitted = _fit(line, "split", "lists", work, None)
    # ranks, not means: at which places they are looked at is no part of the training
    np.save(work / VALIDATION_FILE, fitted.validation_ranks, allow_pickle=False)
    _write_training(work, fitted)


def refit_step(line: Line[Context], work: Path) -> None:
    epochs = line.context.recipe.training.refit_epochs
    if epochs is None:
        epochs = orjson.loads((line.path("train") / TRAINING_FILE).read_bytes())["best_epoch"]
    fitted = _fit(line, "split_refit", "lists_refit", work, epochs)
    _write_training(work, fitted)


def _fit(line: Line[Context], split_step: str, lists_step: str, work: Path, stop_after: int | None) -> Any:
    import torch
    from safetensors.torch import save_file

    from retort.offline.teachers.build import build_teacher
    from retort.offline.training.checkpoint import CHECKPOINT
    from retort.offline.training.loop import fit

    recipe, progress = line.context.recipe, line.context.progress
    split = load_split(line.path(split_step))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    student = new_student(recipe, len(split.item_index)).to(device)
    objectives = []
    if recipe.objectives:
        knowledge = recipe.knowledge()
        users = line.path("teacher") / VECTORS_FILE if "users" in knowledge else None
        made = "tuned_items" if "tuned_items" in line.steps else "items"
        items = line.path(made) / VECTORS_FILE if "items" in knowledge else None
        lists = line.path(lists_step) if lists_step in line.steps else None
        config = beside_data(recipe.teacher, line.context.data_dir)
        profiles = line.path("profiles") / PROFILES_FILE if "profiles" in line.steps else None
        teacher = build_teacher(split, users, items, config, progress, lists, profiles)
        with torch.random.fork_rng():
            torch.manual_seed(recipe.training.seed + 1)
            for one in recipe.objectives:
                model = load_plugin(OBJECTIVES, one.name).Model
                objectives.append(model(one, student, teacher).to(device))
    asks = recipe.evaluation
    fitted = fit(student, split, objectives, recipe.training, progress, work, stop_after=stop_after, asks=asks)
    save_file({name: value.contiguous().cpu() for name, value in student.state_dict().items()}, work / STUDENT_FILE)
    (work / CHECKPOINT).unlink(missing_ok=True)
    return fitted


def new_student(recipe: Recipe, n_items: int, seed: int | None = None) -> Any:
    """The recipe's student with its first weights, those of `seed` or of the recipe's own."""
    import torch

    torch.manual_seed(recipe.training.seed if seed is None else seed)
    return load_plugin(STUDENTS, recipe.student_name).Model(recipe.student, n_items)


def _write_training(work: Path, fitted: Any) -> None:
    said = {"best_epoch": fitted.best_epoch, "log": [asdict(entry) for entry in fitted.log]}
    (work / TRAINING_FILE).write_bytes(orjson.dumps(said, option=orjson.OPT_INDENT_2))
