"""Cost of each distillation objective: CPU time of an epoch with it, compared with the student's own loss alone.

The teacher is random: costs do not depend on its values. Users and items have 384 values, every train event has a list
of ten items and a distribution over twenty. Epochs with an objective and without take turns in one process. Four are
measured, because `ranking` computes the student's own lists in one epoch of four.
"""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.training_data import training_of
from retort.offline.common.plugins import load_config, load_plugin, plugin_names
from retort.offline.common.progress import Silent
from retort.offline.data.split import Split
from retort.offline.pipeline.train import new_student
from retort.offline.recipes.recipe import OBJECTIVES, Recipe
from retort.offline.teachers.teacher import Distributions, Rankings, Teacher
from retort.offline.training.kept_memory import kept_memory
from retort.offline.training.mutual_distillation import only
from retort.offline.training.training_run import TrainingRun

OBJECTIVES_S = {False: 300, True: 30}
_USERS = {False: 4_000, True: 800}
_EPOCHS, _WIDTH, _LISTED = 4, 384, 20


def objective_rows(recipe: Recipe, split: Split, *, quick: bool) -> Iterator[dict[str, object]]:
    """Print a table and yield its rows: objective, seconds an epoch of the whole data, ratio to plain."""
    n_users = len(split.train)
    part = replace(only(split, np.arange(n_users) < _USERS[quick])[0], validation=None)
    whole = split.train.offsets[-1] / part.train.offsets[-1]
    teacher = _random_teacher(part)
    print("| objective | s an epoch, plain | s an epoch with it | ratio |\n|---|---|---|---|")
    for name in plugin_names(OBJECTIVES):
        plain_s, with_s = _measure(recipe, part, teacher, name)
        row = {"objective": name, "plain_s": plain_s * whole, "with_s": with_s * whole, "ratio": with_s / plain_s}
        print(f"| {name} | {row['plain_s']:.2f} | {row['with_s']:.2f} | {row['ratio']:.2f} |", flush=True)
        yield {key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()}


def _measure(recipe: Recipe, split: Split, teacher: Teacher, name: str) -> tuple[float, float]:
    """Return the mean CPU seconds of an epoch without and with the objective."""
    with tempfile.TemporaryDirectory() as work, kept_memory():
        plain, taught = (_run(recipe, split, teacher, given, Path(work)) for given in (None, name))
        seconds = {id(plain): 0.0, id(taught): 0.0}
        for _ in range(_EPOCHS):
            for run in (plain, taught):
                started = time.process_time()
                run.train_epoch(Silent())
                seconds[id(run)] += time.process_time() - started
        taught.detach_objectives()
    return seconds[id(plain)] / _EPOCHS, seconds[id(taught)] / _EPOCHS


def _run(recipe: Recipe, split: Split, teacher: Teacher, name: str | None, work: Path) -> TrainingRun:
    student = new_student(recipe, len(split.item_index))
    objectives = []
    if name is not None:
        config = load_config(OBJECTIVES, name)(name=name)
        objectives.append(load_plugin(OBJECTIVES, name).Model(config, student, teacher))
    training = training_of(recipe, "512", batch_size=recipe.training.batch_size)
    run = TrainingRun(student, split, objectives, training, evaluation=recipe.evaluation)
    run.start(work / (name or "plain"))
    return run


def _random_teacher(split: Split) -> Teacher:
    random = np.random.default_rng(0)
    n_users, n_items, n_events = len(split.train), len(split.item_index), len(split.train.values)
    users = random.normal(size=(n_users, _WIDTH)).astype(np.float32)
    items = random.normal(size=(n_items + 1, _WIDTH)).astype(np.float32)
    items[0] = 0
    rows, listed = np.arange(n_events), random.integers(1, n_items + 1, (n_events, _LISTED))
    distances = np.sort(random.random((n_events, _LISTED)), 1).astype(np.float32)
    shares = np.full((n_events, _LISTED), 0.9 / _LISTED, np.float32)
    ranks = random.integers(1, n_items, n_events)
    return Teacher(
        user_vectors=users,
        has_user=np.ones(n_users, bool),
        item_vectors=items,
        has_item=np.arange(n_items + 1) > 0,
        rankings=Rankings(rows, listed, distances, distances[:, 3].copy()),
        distributions=Distributions(rows, listed, shares, ranks, 1.0, ranks),
    )
