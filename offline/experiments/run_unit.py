"""Execution of one unit of an experiment: the steps of `offline/pipeline/`, and the record of their results."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
from sqlalchemy import Engine

from retort.offline.common.progress import Progress
from retort.offline.data.sources import existing_directory
from retort.offline.evaluation.baselines import baseline_ranker
from retort.offline.evaluation.evaluate import evaluate, summarise, tabulate_ranks
from retort.offline.experiments.plan import Plan, ViewConfig
from retort.offline.experiments.plan_files import parse_plan
from retort.offline.experiments.unit import Records, Unit
from retort.offline.export.bundle_builder import git_commit
from retort.offline.pipeline.artifact_store import TIMES
from retort.offline.pipeline.build import make_pipeline
from retort.offline.pipeline.context import (
    METRICS_FILE,
    STUDENT_FILE,
    TRAINING_FILE,
    USERS_FILE,
    RunContext,
    evaluated_split_step,
    load_tables,
    make_context,
    weights_step,
)
from retort.offline.pipeline.dag import Pipeline
from retort.offline.pipeline.deliver import read_validation, subsets_of
from retort.offline.pipeline.file_hashes import hash_directory
from retort.offline.pipeline.outcome import read_outcome, run_pipeline
from retort.offline.pipeline.preflight import check_needs
from retort.offline.recipes.recipe import Recipe
from retort.shared.base.errors import RetortError
from retort.shared.base.hashing import hash_json

EXPERIMENTS = "experiments"
PLAN_FILE = "plan.json"
RANKS = "ranks"
_NOT_TEACHING = ("data", "split", "split_refit", "train", "refit", "export", "evaluate", "seal", "publish")
_LATENCY_REQUESTS = 200
# Sections of a recipe whose models and files `check_units` looks for; units that differ elsewhere are checked once.
_CHECKED = ("protocol", "knowledge", "profiles", "encoder", "teacher", "objectives")


@dataclass(frozen=True)
class Experiment:
    """A plan with its raw data and its run directory; records are stored in OUT/experiments/NAME.

    files: hash of the raw data when the experiment was opened; None without raw data.
    older: saved by a version that named records otherwise; reports then find records by their content.
    """

    plan: Plan
    data: Path | None
    out: Path
    files: str | None
    older: bool = False

    @classmethod
    def open(cls, plan: Plan, data: Path | None, out: Path) -> "Experiment":
        """Open an experiment on the present state of the raw data."""
        return cls(plan, data, out, None if data is None else hash_directory(existing_directory(data)))

    @property
    def folder(self) -> Path:
        return self.out / EXPERIMENTS / self.plan.name

    @property
    def records(self) -> Records:
        return Records(self.folder)

    @property
    def command(self) -> str:
        """The command that repeats the experiment, without directories."""
        return f"retort experiment {self.plan.command}{' --data DIR' if self.data else ''}"

    def recipe(self, unit: Unit) -> Recipe:
        """Build the unit's recipe. A floor is evaluated by the baseline's."""
        if unit.kind == "floor":
            return self.plan.baseline_recipe()
        held = {"protocol": "held"} if unit.kind == "trial" else {}
        return self.plan.recipe(unit.arm, unit.student, {**unit.keys, **held})

    def record_of(self, unit: Unit) -> Path:
        """The file of the unit's record, finished or not."""
        # the recipe as written: a new key with a default value must not invalidate finished records
        recipe = self.recipe(unit).raw
        views = [view.model_dump() for view in self.plan.config.views] if unit.kind != "trial" else []
        return self.records.path(unit, {"recipe": recipe, "views": views, "files": self.files})


def save_plan(experiment: Experiment) -> None:
    """Save the plan, so that workers and reports need the folder alone."""
    saved = {
        "name": experiment.plan.name,
        "command": experiment.plan.command,
        "written": experiment.plan.written,
        "directory": str(experiment.plan.directory.absolute()),
        "data": str(experiment.data.absolute()) if experiment.data else None,
        "files": experiment.files,
    }
    (experiment.folder / PLAN_FILE).write_bytes(orjson.dumps(saved, option=orjson.OPT_INDENT_2))


def load_experiment(folder: Path) -> Experiment:
    """Load the experiment of a folder OUT/experiments/NAME.

    Raises:
        RetortError: The folder holds no experiment.
    """
    try:
        saved = orjson.loads((folder / PLAN_FILE).read_bytes())
    except FileNotFoundError:
        raise RetortError(f"{folder} holds no experiment ({PLAN_FILE} is missing); run it first.") from None
    # earlier versions saved the words after `retort experiment run` as "asked", and the directory as "beside"
    command = saved.get("command") or f"run {saved.get('asked') or saved['name']}"
    plan = parse_plan(saved["name"], saved["written"], Path(saved.get("directory") or saved["beside"]), command)
    data = Path(saved["data"]) if saved["data"] else None
    return Experiment(plan, data, folder.parent.parent, saved.get("files"), older="files" not in saved)


def find_record(experiment: Experiment, unit: Unit) -> dict[str, Any] | None:
    """Read the unit's finished record; None without one."""
    record = experiment.records.find(experiment.record_of(unit))
    return experiment.records.newest(unit) if record is None and experiment.older else record


def read_data(experiment: Experiment, engine: Engine, progress: Progress) -> None:
    """Run the first step of all units, so that a wrong `--data` is reported once and not by every unit."""
    _pipeline(experiment, experiment.plan.baseline_recipe(), engine, progress).ensure("data")


def check_units(experiment: Experiment, units: Iterable[Unit], engine: Engine, progress: Progress) -> None:
    """Look for the disk, models and files that units need, as `retort run` does, before any of them is trained.

    Raises:
        RetortError: Something is missing; the sentence says what.
    """
    recipes: dict[str, Recipe] = {}
    for unit in units:
        # a trial's run follows it, under the protocol of the plan
        after = [experiment.plan.recipe(unit.arm, unit.student, unit.keys)] if unit.kind == "trial" else []
        for recipe in (experiment.recipe(unit), *after):
            config = recipe.as_json()
            recipes.setdefault(hash_json([config[name] for name in _CHECKED if name in config]), recipe)
    check_needs(_pipeline(experiment, recipe, engine, progress) for recipe in recipes.values())


def run_unit(experiment: Experiment, unit: Unit, engine: Engine, progress: Progress) -> dict[str, Any]:
    """Run a unit, save its record and return it. An interrupted unit resumes from its finished steps."""
    started_s = time.perf_counter()
    pipeline = _pipeline(experiment, experiment.recipe(unit), engine, progress)
    run = {"trial": _run_trial, "run": _run_seed, "floor": _run_floor}[unit.kind]
    record = {
        "unit": unit.as_json(),
        "protocol": experiment.plan.baseline_recipe().protocol,
        "commit": git_commit(),
        **run(experiment, unit, pipeline),
        "seconds": round(time.perf_counter() - started_s, 2),
    }
    experiment.records.save(experiment.record_of(unit), record)
    return record


def _pipeline(experiment: Experiment, recipe: Recipe, engine: Engine, progress: Progress) -> Pipeline[RunContext]:
    return make_pipeline(make_context(recipe, experiment.data, engine, progress), experiment.out)


def _run_trial(experiment: Experiment, unit: Unit, pipeline: Pipeline[RunContext]) -> dict[str, Any]:
    """Train and validate: a trial exports no graph and never reads the test."""
    training = orjson.loads((pipeline.ensure_path("train") / TRAINING_FILE).read_bytes())
    best = max((entry["ndcg"] for entry in training["log"] if entry["ndcg"] is not None), default=0.0)
    return {"best_epoch": training["best_epoch"], "validation_ndcg": best, "validation": read_validation(pipeline)}


def _run_seed(experiment: Experiment, unit: Unit, pipeline: Pipeline[RunContext]) -> dict[str, Any]:
    run_pipeline(pipeline)
    outcome = read_outcome(pipeline)
    metrics = orjson.loads((pipeline.ensure_path("evaluate") / METRICS_FILE).read_bytes())
    return {
        "recipe": pipeline.context.recipe.as_json(),
        "bundle": outcome.bundle.name,
        "test": outcome.test,
        "cases": metrics["cases"],
        "cold_targets": metrics["cold_targets"],
        "seen_hidden": metrics["seen_hidden"],
        "ranks": _save_ranks(experiment, unit, "", pl.read_parquet(outcome.per_user)),
        "views": {view.name: _run_view(experiment, unit, pipeline, view) for view in experiment.plan.config.views},
        "cost": cost_of(pipeline),
    }


def _run_view(experiment: Experiment, unit: Unit, pipeline: Pipeline[RunContext], view: ViewConfig) -> dict[str, Any]:
    """Evaluate the same weights with other settings: only the evaluate step differs."""
    context = pipeline.context
    recipe = experiment.plan.recipe(unit.arm, unit.student, {**unit.keys, **view.set})
    other = _pipeline(experiment, recipe, context.engine, context.progress)
    # a view that shows seen items would select other epochs: the weights are the run's
    other.steps |= {name: step for name, step in pipeline.steps.items() if name != "evaluate"}
    metrics = orjson.loads((other.ensure_path("evaluate") / METRICS_FILE).read_bytes())
    ranks = pl.read_parquet(other.ensure_path("evaluate") / USERS_FILE)
    return {"test": metrics["test"], "ranks": _save_ranks(experiment, unit, view.name, ranks)}


def _run_floor(experiment: Experiment, unit: Unit, pipeline: Pipeline[RunContext]) -> dict[str, Any]:
    from retort.offline.data.split_store import load_split

    context, split = pipeline.context, load_split(pipeline.ensure_path(evaluated_split_step(pipeline)))
    ranker = baseline_ranker(unit.arm, split)
    views: dict[str, dict[str, Any]] = {}
    for name, keys in {"": {}, **{view.name: view.set for view in experiment.plan.config.views}}.items():
        config = experiment.plan.baseline_recipe(keys).evaluation
        evaluation = evaluate(ranker, split.test, config, context.progress, f"scoring {unit.arm}")
        subsets = subsets_of(load_tables(pipeline), split, config.subsets)
        ranks = _save_ranks(experiment, unit, name, tabulate_ranks(evaluation, split.test, split, subsets))
        views[name] = {"test": summarise(evaluation, config, len(split.item_index)), "ranks": ranks}
    return {**views.pop(""), "views": views, "cases": len(split.test), "cost": {}}


def _save_ranks(experiment: Experiment, unit: Unit, view: str, ranks: pl.DataFrame) -> str:
    """Save the ranks in the experiment's folder; the path is relative, so the folder may be moved."""
    stem = experiment.record_of(unit).stem + (f"-{view}".replace(" ", "_").replace("/", "_") if view else "")
    path = experiment.folder / RANKS / f"{stem}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    ranks.write_parquet(partial)
    partial.replace(path)
    return str(path.relative_to(experiment.folder))


def cost_of(pipeline: Pipeline[RunContext]) -> dict[str, float]:
    """Measure the cost of a finished run and of serving its bundle: seconds, parameters, bytes, milliseconds."""
    epochs: list[float] = orjson.loads((pipeline.ensure_path(weights_step(pipeline)) / TIMES).read_bytes())["epoch_s"]
    bundle = read_outcome(pipeline).bundle
    return {
        "epochs": len(epochs),
        "epoch_s": float(np.median(epochs)),
        "training_s": pipeline.ensure(weights_step(pipeline)).seconds,
        "teacher_s": sum(pipeline.ensure(name).seconds for name in pipeline.steps if name not in _NOT_TEACHING),
        "parameters": _parameters(pipeline.ensure_path(weights_step(pipeline)) / STUDENT_FILE),
        "bundle_bytes": sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file()),
        "latency_ms": _latency_ms(pipeline),
    }


def _parameters(weights: Path) -> int:
    from safetensors import safe_open

    with safe_open(weights, framework="numpy") as stored:
        return sum(int(np.prod(stored.get_slice(name).get_shape())) for name in stored.keys())  # noqa: SIM118


def _latency_ms(pipeline: Pipeline[RunContext]) -> float:
    """Median latency of single requests to the exported graph on one thread; other load on the machine adds to it."""
    from retort.offline.data.split_store import load_split
    from retort.shared.model.bundle import open_bundle

    split = load_split(pipeline.ensure_path(evaluated_split_step(pipeline)))
    scorer = open_bundle(read_outcome(pipeline).bundle).scorer(threads=1)
    histories = [split.test.histories[row] for row in range(min(_LATENCY_REQUESTS, len(split.test)))]
    latencies_s = []
    for history in histories:
        started_s = time.perf_counter()
        scorer.top_k([history], 10, hidden=[history])
        latencies_s.append(time.perf_counter() - started_s)
    return float(np.median(latencies_s)) * 1000
