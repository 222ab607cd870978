"""Running a line to its end, and what there is to show then."""

from dataclasses import dataclass
from pathlib import Path

import orjson

from retort.offline.pipeline.context import METRICS_FILE, USERS_FILE, Context
from retort.offline.pipeline.dag import Line
from retort.offline.pipeline.deliver import bundle_of


@dataclass(frozen=True)
class Outcome:
    """What a finished run has to show. baselines: name → metrics of rankers that need no student."""

    bundle: Path
    test: dict[str, float]
    validation: dict[str, float]
    slices: dict[str, dict[str, float]]
    baselines: dict[str, dict[str, float]]
    per_user: Path


def run_line(line: Line[Context]) -> Outcome:
    """Do all steps, in order, and read what came out."""
    for name in line.steps:
        finished = line.do(name)
        line.progress.say(f"{name}: {'already done' if finished.skipped else 'done'} ({finished.path.name})")
    return outcome_of(line)


def outcome_of(line: Line[Context]) -> Outcome:
    """The outcome of a line whose steps are done."""
    metrics = orjson.loads((line.path("evaluate") / METRICS_FILE).read_bytes())
    return Outcome(
        bundle=bundle_of(line),
        test=metrics["test"],
        validation=metrics["validation"],
        slices=metrics["slices"],
        baselines=metrics["baselines"],
        per_user=line.path("evaluate") / USERS_FILE,
    )
