"""Runs all steps of a pipeline and reads what they left."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import orjson

from retort.offline.pipeline.context import METRICS_FILE, USERS_FILE, RunContext, bundle_path
from retort.offline.pipeline.dag import Pipeline


@dataclass(frozen=True)
class Outcome:
    """Outcome of a finished run. baselines: name → metrics of rankers without a student. per_user: a Parquet file."""

    bundle: Path
    test: dict[str, float]
    validation: dict[str, float]
    slices: dict[str, dict[str, float]]
    baselines: dict[str, dict[str, float]]
    per_user: Path


def complete_steps(pipelines: Iterable[Pipeline[RunContext]]) -> None:
    """Run finished steps that lack something again, such as item knowledge of which some texts failed."""
    seen: set[Path] = set()
    for pipeline in pipelines:
        for name in [step.name for step in pipeline.steps.values() if step.lacks is not None]:
            if pipeline.ensure(name).path not in seen:
                seen.add(pipeline.complete(name).path)


def run_pipeline(pipeline: Pipeline[RunContext]) -> Outcome:
    """Run all steps in order, report each, and read the outcome."""
    for name in pipeline.steps:
        finished = pipeline.ensure(name)
        pipeline.progress.say(f"{name}: {'already done' if finished.skipped else 'done'} ({finished.path.name})")
    return read_outcome(pipeline)


def read_outcome(pipeline: Pipeline[RunContext]) -> Outcome:
    """Read the outcome of a pipeline whose steps are finished; those that are not run first."""
    metrics = orjson.loads((pipeline.ensure_path("evaluate") / METRICS_FILE).read_bytes())
    return Outcome(
        bundle=bundle_path(pipeline),
        test=metrics["test"],
        validation=metrics["validation"],
        slices=metrics["slices"],
        baselines=metrics["baselines"],
        per_user=pipeline.ensure_path("evaluate") / USERS_FILE,
    )
