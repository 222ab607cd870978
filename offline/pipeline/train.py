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
    RunContext,
)
from retort.offline.pipeline.dag import Pipeline
from retort.offline.pipeline.lists import beside_data
from retort.offline.recipes.recipe import OBJECTIVES, STUDENTS, Recipe


def train_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    import numpy as np

    fitted = _fit(pipeline, "split", "lists", work, None)
    # ranks, not means: at which places they are looked at is no part of the training
    np.save(work / VALIDATION_FILE, fitted.validation_ranks, allow_pickle=False)
    _write_training(work, fitted)


def refit_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    epochs = pipeline.context.recipe.training.refit_epochs
    if epochs is None:
        epochs = orjson.loads((pipeline.ensure_path("train") / TRAINING_FILE).read_bytes())["best_epoch"]
    fitted = _fit(pipeline, "split_refit", "lists_refit", work, epochs)
    _write_training(work, fitted)


def _fit(pipeline: Pipeline[RunContext], split_step: str, lists_step: str, work: Path, stop_after: int | None) -> Any:
    import torch
    from safetensors.torch import save_file

    from retort.offline.teachers.build import build_teacher
    from retort.offline.training.checkpoint import CHECKPOINT
    from retort.offline.training.loop import fit

    recipe, progress = pipeline.context.recipe, pipeline.context.progress
    split = load_split(pipeline.ensure_path(split_step))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    student = new_student(recipe, len(split.item_index)).to(device)
    objectives = []
    if recipe.objectives:
        knowledge = recipe.knowledge()
        users = pipeline.ensure_path("teacher") / VECTORS_FILE if "users" in knowledge else None
        made = "tuned_items" if "tuned_items" in pipeline.steps else "items"
        items = pipeline.ensure_path(made) / VECTORS_FILE if "items" in knowledge else None
        lists = pipeline.ensure_path(lists_step) if lists_step in pipeline.steps else None
        config = beside_data(recipe.teacher, pipeline.context.data_dir)
        profiles = pipeline.ensure_path("profiles") / PROFILES_FILE if "profiles" in pipeline.steps else None
        teacher = build_teacher(split, users, items, config, progress, lists, profiles)
        with torch.random.fork_rng():
            torch.manual_seed(recipe.training.seed + 1)
            for one in recipe.objectives:
                model = load_plugin(OBJECTIVES, one.name).Model
                objectives.append(model(one, student, teacher).to(device))
    evaluation = recipe.evaluation
    fitted = fit(
        student, split, objectives, recipe.training, progress, work, stop_after=stop_after, evaluation=evaluation
    )
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
