"""Does one unit of an experiment: the steps of `offline/pipeline/`, and the record of what they left."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
from sqlalchemy import Engine

from retort.offline.common.progress import Progress
from retort.offline.evaluation.baselines import floor
from retort.offline.evaluation.evaluate import evaluate, per_user, summarise
from retort.offline.experiments.plan import Plan, ViewConfig
from retort.offline.experiments.unit import Records, Unit
from retort.offline.export.bundle_builder import git_commit
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
from retort.offline.pipeline.outcome import read_outcome, run_pipeline
from retort.offline.pipeline.prepare import files_hash
from retort.offline.recipes.recipe import Recipe

EXPERIMENTS = "experiments"
RANKS = "ranks"
_NOT_TEACHING = ("data", "split", "split_refit", "train", "refit", "export", "evaluate", "seal", "publish")
_LATENCY_REQUESTS = 200


@dataclass(frozen=True)
class Experiment:
    """An experiment at a place: raw data in, run directory out, records under OUT/experiments/NAME."""

    plan: Plan
    data: Path | None
    out: Path
    files: str | None  # state of the raw data when the experiment was opened
    # kept by a version that named records otherwise: they are found by what they say they are, for reports
    older: bool = False

    @classmethod
    def open(cls, plan: Plan, data: Path | None, out: Path) -> "Experiment":
        """For raw data as it lies there now."""
        return cls(plan, data, out, files_hash(data))

    @property
    def folder(self) -> Path:
        return self.out / EXPERIMENTS / self.plan.name

    @property
    def records(self) -> Records:
        return Records(self.folder)

    @property
    def command(self) -> str:
        """What makes the same again, wherever the data lie."""
        return f"retort experiment run {self.plan.asked}{' --data DIR' if self.data else ''}"

    def recipe(self, unit: Unit) -> Recipe:
        """What the unit runs. A floor is asked what the baseline is asked."""
        config = self.plan.config
        if unit.kind == "floor":
            return self.plan.recipe(config.baseline, self.plan.students[0], {})
        held = {"protocol": "held"} if unit.kind == "trial" else {}
        return self.plan.recipe(unit.arm, unit.student, {**unit.keys, **held})

    def record_of(self, unit: Unit) -> Path:
        """Where the unit's record lies, done or not."""
        # as written: a key that the code learns meanwhile, with its default, must not throw away a night's work
        recipe = self.recipe(unit).raw
        views = [view.model_dump() for view in self.plan.config.views] if unit.kind != "trial" else []
        return self.records.path(unit, {"recipe": recipe, "views": views, "files": self.files})


def find_record(experiment: Experiment, unit: Unit) -> dict[str, Any] | None:
    """The unit's finished record, or None."""
    found = experiment.records.find(experiment.record_of(unit))
    return experiment.records.newest(unit) if found is None and experiment.older else found


def read_data(experiment: Experiment, engine: Engine, progress: Progress) -> None:
    """The step that all units begin with; a wrong `--data` is told here, once, and not by every unit."""
    config = experiment.plan.config
    _line(
        experiment, experiment.plan.recipe(config.baseline, experiment.plan.students[0], {}), engine, progress
    ).ensure("data")


def run_unit(experiment: Experiment, unit: Unit, engine: Engine, progress: Progress) -> dict[str, Any]:
    """Do it, keep its record, return the record. Interrupted, it goes on where its steps stopped."""
    started_s = time.perf_counter()
    pipeline = _line(experiment, experiment.recipe(unit), engine, progress)
    make = {"trial": _trial, "run": _run, "floor": _floor}[unit.kind]
    record = {
        "unit": unit.as_json(),
        "protocol": experiment.plan.recipe(experiment.plan.config.baseline, experiment.plan.students[0], {}).protocol,
        "commit": git_commit(),
        **make(experiment, unit, pipeline),
        "seconds": round(time.perf_counter() - started_s, 2),
    }
    experiment.records.keep(experiment.record_of(unit), record)
    return record


def _line(experiment: Experiment, recipe: Recipe, engine: Engine, progress: Progress) -> Pipeline[RunContext]:
    return make_pipeline(make_context(recipe, experiment.data, engine, progress), experiment.out)


def _trial(experiment: Experiment, unit: Unit, pipeline: Pipeline[RunContext]) -> dict[str, Any]:
    """Validation only: the exported graph is never made, the test never asked."""
    said = orjson.loads((pipeline.ensure_path("train") / TRAINING_FILE).read_bytes())
    best = max((entry["ndcg"] for entry in said["log"] if entry["ndcg"] is not None), default=0.0)
    return {"best_epoch": said["best_epoch"], "validation_ndcg": best, "validation": read_validation(pipeline)}


def _run(experiment: Experiment, unit: Unit, pipeline: Pipeline[RunContext]) -> dict[str, Any]:
    run_pipeline(pipeline)
    outcome = read_outcome(pipeline)
    said = orjson.loads((pipeline.ensure_path("evaluate") / METRICS_FILE).read_bytes())
    return {
        "recipe": pipeline.context.recipe.as_json(),
        "bundle": outcome.bundle.name,
        "test": outcome.test,
        "cases": said["cases"],
        "cold_targets": said["cold_targets"],
        "seen_hidden": said["seen_hidden"],
        "ranks": _kept_ranks(experiment, unit, "", pl.read_parquet(outcome.per_user)),
        "views": {view.name: _view(experiment, unit, pipeline, view) for view in experiment.plan.config.views},
        "cost": cost_of(pipeline),
    }


def _view(experiment: Experiment, unit: Unit, pipeline: Pipeline[RunContext], view: ViewConfig) -> dict[str, Any]:
    """The same weights asked otherwise: only the evaluate step is another."""
    context = pipeline.context
    recipe = experiment.plan.recipe(unit.arm, unit.student, {**unit.keys, **view.set})
    other = _line(experiment, recipe, context.engine, context.progress)
    # a view that shows seen items would choose other epochs: the weights are the run's
    other.steps |= {name: step for name, step in pipeline.steps.items() if name != "evaluate"}
    said = orjson.loads((other.ensure_path("evaluate") / METRICS_FILE).read_bytes())
    ranks = pl.read_parquet(other.ensure_path("evaluate") / USERS_FILE)
    return {"test": said["test"], "ranks": _kept_ranks(experiment, unit, view.name, ranks)}


def _floor(experiment: Experiment, unit: Unit, pipeline: Pipeline[RunContext]) -> dict[str, Any]:
    from retort.offline.data.split_store import load_split

    context, split = pipeline.context, load_split(pipeline.ensure_path(evaluated_split_step(pipeline)))
    progress = context.progress
    ranker = floor(unit.arm, split)
    looks: dict[str, dict[str, Any]] = {}
    for name, keys in {"": {}, **{view.name: view.set for view in experiment.plan.config.views}}.items():
        config = experiment.plan.recipe(experiment.plan.config.baseline, experiment.plan.students[0], keys).evaluation
        found = evaluate(ranker, split.test, config, progress, f"scoring {unit.arm}")
        subsets = subsets_of(load_tables(pipeline), split, config.subsets)
        ranks = _kept_ranks(experiment, unit, name, per_user(found, split.test, split, subsets))
        looks[name] = {"test": summarise(found, config, len(split.item_index)), "ranks": ranks}
    return {**looks.pop(""), "views": looks, "cases": len(split.test), "cost": {}}


def _kept_ranks(experiment: Experiment, unit: Unit, view: str, ranks: pl.DataFrame) -> str:
    """Copy of the ranks beside the records, by name; relative, so that the folder may be moved."""
    stem = experiment.record_of(unit).stem + (f"-{view}".replace(" ", "_").replace("/", "_") if view else "")
    path = experiment.folder / RANKS / f"{stem}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    ranks.write_parquet(partial)
    partial.replace(path)
    return str(path.relative_to(experiment.folder))


def cost_of(pipeline: Pipeline[RunContext]) -> dict[str, float]:
    """What the run cost and what serving it costs: seconds, parameters, bytes, milliseconds."""
    said: Mapping[str, Any] = orjson.loads((pipeline.ensure_path(weights_step(pipeline)) / TRAINING_FILE).read_bytes())
    epochs = [entry["seconds"] for entry in said["log"]]
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
    """Median of single requests to the exported graph, one thread; other work on the machine shows in it."""
    from retort.offline.data.split_store import load_split
    from retort.shared.model.bundle import open_bundle

    split = load_split(pipeline.ensure_path(evaluated_split_step(pipeline)))
    scorer = open_bundle(read_outcome(pipeline).bundle).scorer(threads=1)
    histories = [split.test.histories[row] for row in range(min(_LATENCY_REQUESTS, len(split.test)))]
    taken_s = []
    for history in histories:
        started_s = time.perf_counter()
        scorer.top_k([history], 10, hidden=[history])
        taken_s.append(time.perf_counter() - started_s)
    return float(np.median(taken_s)) * 1000
