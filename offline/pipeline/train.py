"""Split and teacher → a student's weights."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import orjson

from retort.offline.common.plugins import load_plugin, plugin_module
from retort.offline.data.split import Split
from retort.offline.data.split_store import load_split
from retort.offline.pipeline.artifact_store import TIMES
from retort.offline.pipeline.context import (
    PROFILES_FILE,
    STUDENT_FILE,
    TRAINING_FILE,
    VALIDATION_FILE,
    VECTORS_FILE,
    Plan,
    RunContext,
    in_data_directory,
)
from retort.offline.pipeline.dag import Pipeline, Step
from retort.offline.pipeline.teach import hash_given, taught_by
from retort.offline.recipes.recipe import OBJECTIVES, STUDENTS, Recipe
from retort.offline.teachers.build import build_teacher
from retort.offline.teachers.teacher import Teacher

if TYPE_CHECKING:
    from retort.offline.distillation._base import Objective
    from retort.offline.students._base import Student
    from retort.offline.training.loop import Fitted


def train_steps(plan: Plan) -> list[Step[RunContext]]:
    """train, which finds the number of epochs, and refit for protocol "refit"."""
    recipe, taught = plan.recipe, taught_by(plan)
    lists = ("lists",) if "lists" in plan.teacher_parts and recipe.teacher.makes_lists else ()
    sections = ("student", "training", "objectives", *(("teacher",) if plan.teacher_parts else ()))
    key = {section: plan.config[section] for section in sections} | _hash_given_lists(plan)
    plugins = (
        plugin_module(STUDENTS, recipe.student_name),
        *sorted({plugin_module(OBJECTIVES, objective.name) for objective in recipe.objectives}),
    )
    steps = []
    if recipe.finds_epochs:
        # how validation evaluates chooses the epoch; only other values than the defaults are in the key, so that
        # earlier work is found
        evaluation = recipe.evaluation.model_dump(include={"hide_seen", "last_items"}, exclude_defaults=True)
        needs, key_held = ("split", *taught, *lists), {**key, **evaluation}
        steps.append(Step("train", train_step, needs, key_held, plugins, queue="gpu-train", resumes=True))
    if recipe.protocol == "refit":
        found = ("train",) if recipe.finds_epochs else ()
        needs = ("split_refit", *found, *taught, *(f"{name}_refit" for name in lists))
        steps.append(Step("refit", refit_step, needs, key, plugins, queue="gpu-train", resumes=True))
    return steps


def _hash_given_lists(plan: Plan) -> dict[str, str | None]:
    """Hash of the files behind `lists_path`."""
    teacher = plan.recipe.teacher
    if "lists" not in plan.teacher_parts or teacher.lists not in ("file", "published"):
        return {}
    return {"lists_files": hash_given(in_data_directory(teacher, plan.data_dir).lists_path)}


def train_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    """Train on the held split; write the weights of the best epoch and the validation ranks."""
    fitted = _fit(pipeline, "split", "lists", work, None)
    # ranks, not metrics: the list lengths at which they are read are no part of the training
    np.save(work / VALIDATION_FILE, np.asarray(fitted.validation_ranks, dtype=np.int64), allow_pickle=False)
    _write_training(work, fitted)


def refit_step(pipeline: Pipeline[RunContext], work: Path) -> None:
    """Train on the refit's split for the epochs that the held training found or the recipe gives."""
    epochs = pipeline.context.recipe.training.refit_epochs
    if epochs is None:
        epochs = orjson.loads((pipeline.ensure_path("train") / TRAINING_FILE).read_bytes())["best_epoch"]
    fitted = _fit(pipeline, "split_refit", "lists_refit", work, epochs)
    _write_training(work, fitted)


def _fit(pipeline: Pipeline[RunContext], split_step: str, lists_step: str, work: Path, epochs: int | None) -> "Fitted":
    """Train the student and write its weights. epochs: None stops where validation is best."""
    from safetensors.torch import save_file

    from retort.offline.pipeline.train_processes import with_followers
    from retort.offline.training.epochs import CHECKPOINT

    context = pipeline.context
    arguments = {"split_step": split_step, "lists_step": lists_step, "work": work, "epochs": epochs}
    job = {"name": context.recipe.name, "recipe": context.recipe.raw, "data": context.data_dir}
    with with_followers({**job, "out": pipeline.store.root.absolute(), **arguments}, work.with_suffix(".logs")):
        student, fitted = fit_student(pipeline, split_step, lists_step, work, epochs)
    save_file({name: value.contiguous().cpu() for name, value in student.state_dict().items()}, work / STUDENT_FILE)
    (work / CHECKPOINT).unlink(missing_ok=True)
    return fitted


def fit_student(
    pipeline: Pipeline[RunContext], split_step: str, lists_step: str, work: Path, epochs: int | None
) -> tuple["Student", "Fitted"]:
    """Train the student in this process, alone or as one of a group.

    Args:
        pipeline: Its steps before the training are finished.
        split_step: Name of the step with the histories.
        lists_step: Name of the step with the teacher's lists.
        work: Directory of the checkpoint.
        epochs: Number of epochs; None stops where validation is best.
    """
    import torch

    from retort.offline.training.loop import fit
    from retort.offline.training.processes import device_of_process

    recipe, progress = pipeline.context.recipe, pipeline.context.progress
    split = load_split(pipeline.ensure_path(split_step))
    device = device_of_process()
    student = new_student(recipe, len(split.item_index)).to(device)
    objectives: list[Objective] = []
    if recipe.objectives:
        teacher = _teacher(pipeline, split, lists_step)
        with torch.random.fork_rng():
            torch.manual_seed(recipe.training.seed + 1)
            for config in recipe.objectives:
                model = load_plugin(OBJECTIVES, config.name).Model
                objectives.append(model(config, student, teacher).to(device))
    evaluation = recipe.evaluation
    fitted = fit(student, split, objectives, recipe.training, progress, work, stop_after=epochs, evaluation=evaluation)
    return student, fitted


def _teacher(pipeline: Pipeline[RunContext], split: Split, lists_step: str) -> Teacher:
    """What the teacher knows of the split's users, items and events, from the files of earlier steps."""
    context, steps = pipeline.context, pipeline.steps
    parts = context.recipe.teacher_parts()
    users = pipeline.ensure_path("teacher") / VECTORS_FILE if "users" in parts else None
    items_step = next((name for name in ("tuned_items", "mapped_items") if name in steps), "items")
    items = pipeline.ensure_path(items_step) / VECTORS_FILE if "items" in parts else None
    lists = pipeline.ensure_path(lists_step) if lists_step in steps else None
    config = in_data_directory(context.recipe.teacher, context.data_dir)
    profiles = pipeline.ensure_path("profiles") / PROFILES_FILE if "profiles" in steps else None
    return build_teacher(split, users, items, config, context.progress, lists, profiles)


def new_student(recipe: Recipe, n_items: int, seed: int | None = None) -> "Student":
    """The recipe's student with its first weights, drawn with `seed` or else the recipe's own. Seeds torch."""
    import torch

    torch.manual_seed(recipe.training.seed if seed is None else seed)
    student: Student = load_plugin(STUDENTS, recipe.student_name).Model(recipe.student, n_items)
    return student


def _write_training(work: Path, fitted: "Fitted") -> None:
    log = [asdict(entry) for entry in fitted.log]
    epoch_s = [entry.pop("seconds") for entry in log]
    content = {"best_epoch": fitted.best_epoch, "log": log}
    (work / TRAINING_FILE).write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2))
    (work / TIMES).write_bytes(orjson.dumps({"epoch_s": epoch_s}, option=orjson.OPT_INDENT_2))
