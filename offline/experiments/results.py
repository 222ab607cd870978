"""Results of an experiment: records by arm, paired differences from the baseline, and slices of the test cases.

Shapes: S seeds, U users.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import polars as pl

from retort.offline.evaluation.compare import compare
from retort.offline.experiments.plan import ArmConfig
from retort.offline.experiments.run_unit import Experiment
from retort.offline.experiments.scheduler import Record, Scheduler
from retort.offline.experiments.unit import Selection
from retort.shared.model.paired_test import Comparison

METRIC = "ndcg@10"
METRICS = ("hr@5", "hr@10", "hr@20", "ndcg@5", "ndcg@10", "ndcg@20")
RESAMPLES = 10_000
RESAMPLES_SLICE = 2_000
_LEAST_CASES = 20
_DEFAULT_EDGES = {"history_length": (5, 10, 30, 100), "train_length": (30,), "target_popularity": (3, 10, 30, 100)}
_COLUMN_NAMES = {
    "history_length": "history",
    "train_length": "train items",
    "target_popularity": "target's train events",
}
Mask = Callable[[pl.DataFrame], pl.DataFrame]


@dataclass(frozen=True)
class Row:
    """The runs of one arm with one student, by seed. `arm` is None for a floor; `trial` is the selected trial."""

    name: str
    student: str
    arm: ArmConfig | None
    records: tuple[Record, ...]
    ranks: tuple[pl.DataFrame, ...]
    trial: Record | None = None

    def test(self, metric: str, view: str = "") -> list[float]:
        """The metric of each seed."""
        evaluations = [record["views"][view] if view else record for record in self.records]
        return [evaluation["test"][metric] for evaluation in evaluations if metric in evaluation["test"]]


@dataclass(frozen=True)
class Results:
    """All rows of an experiment that have a run; `missing` names those that have none."""

    experiment: Experiment
    rows: tuple[Row, ...]
    missing: tuple[str, ...]

    def baseline(self, student: str) -> Row | None:
        """The row that the others with this student are compared with."""
        key = (self.experiment.plan.config.baseline, student)
        return next((row for row in self.rows if (row.name, row.student) == key), None)

    def controls(self, row: Row) -> list[Row]:
        """The control arms that explain this row's gain."""
        return [
            other
            for other in self.rows
            if other.arm and other.student == row.student and row.name in other.arm.explains
        ]

    def view(self, row: Row, view: str) -> tuple[pl.DataFrame, ...]:
        """The ranks of each seed in another evaluation of the same weights."""
        files = [record["views"][view]["ranks"] for record in row.records]
        return tuple(pl.read_parquet(self.experiment.folder / file) for file in files)


def load_results(experiment: Experiment) -> Results:
    """Read all records that the experiment has so far."""
    scheduler = Scheduler(experiment, Selection(), again=False, say=lambda line: None)
    scheduler.start()
    plan = experiment.plan
    rows, missing = [], []
    for name, student in [*((floor, "floor") for floor in plan.config.floors), *plan.rows]:
        mine = {
            unit: record for unit, record in scheduler.records.items() if (unit.arm, unit.student) == (name, student)
        }
        runs = sorted((unit.number, record) for unit, record in mine.items() if unit.kind != "trial")
        if not runs:
            missing.append(f"{name} · {student}")
            continue
        records = tuple(record for _, record in runs)
        ranks = tuple(pl.read_parquet(experiment.folder / record["ranks"]) for record in records)
        trials = [record for unit, record in mine.items() if unit.kind == "trial"]
        best = max(trials, key=lambda record: record["validation_ndcg"], default=None)
        rows.append(Row(name, student, plan.arms.get(name), records, ranks, best))
    return Results(experiment, tuple(rows), tuple(missing))


def compare_ranks(a: Sequence[pl.DataFrame], b: Sequence[pl.DataFrame], *, whole: bool = True) -> Comparison:
    """Compare two arms, paired over users, with seeds resampled too; the difference is b − a. whole: all test cases."""
    return compare(list(a), list(b), METRIC, resamples=RESAMPLES if whole else RESAMPLES_SLICE)


def slice_masks(frame: pl.DataFrame, edges: Mapping[str, Sequence[int]]) -> dict[str, Mask]:
    """Cut test cases by the columns of `edges` and by the flagged subsets of users; slice name → mask.

    The slices depend on nothing that a student did, so they hold the same users in every arm. Slices with fewer than
    20 cases are left out.
    """
    masks: dict[str, Mask] = {}
    for column, uppers in edges.items():
        if column in frame.columns:
            for low, high in pairwise((None, *uppers, None)):
                masks[_slice_name(_COLUMN_NAMES[column], low, high)] = _between(column, low, high)
    for column in frame.columns:
        if column.startswith("subset "):
            masks[column] = _flagged(column)
    return {name: mask for name, mask in masks.items() if len(mask(frame)) >= _LEAST_CASES}


def _slice_name(word: str, low: int | None, high: int | None) -> str:
    if low is None:
        return f"{word} ≤ {high}"
    return f"{word} > {low}" if high is None else f"{word} {low + 1}–{high}"


def _between(column: str, low: int | None, high: int | None) -> Mask:
    def cut(frame: pl.DataFrame) -> pl.DataFrame:
        above = pl.lit(True) if low is None else pl.col(column) > low
        below = pl.lit(True) if high is None else pl.col(column) <= high
        return frame.filter(above & below)

    return cut


def _flagged(column: str) -> Mask:
    return lambda frame: frame.filter(pl.col(column))


def slice_rows(results: Results, row: Row) -> list[dict[str, Any]]:
    """Compare the row with its baseline in every slice and every view."""
    base = results.baseline(row.student)
    if base is None or base is row:
        return []
    config = results.experiment.plan.config
    edges = {str(column): uppers for column, uppers in (config.slices or {}).items()}
    masks = slice_masks(base.ranks[0], edges or _DEFAULT_EDGES)
    rows = [
        _difference(row, name, "", [mask(frame) for frame in base.ranks], [mask(frame) for frame in row.ranks])
        for name, mask in masks.items()
    ]
    for view in config.views:
        rows.append(_difference(row, "all", view.name, results.view(base, view.name), results.view(row, view.name)))
    return rows


def _difference(
    row: Row, name: str, view: str, a: Sequence[pl.DataFrame], b: Sequence[pl.DataFrame], *, whole: bool = False
) -> dict[str, Any]:
    compared = compare_ranks(a, b, whole=whole)
    return {
        "least_p": 1 / (RESAMPLES if whole else RESAMPLES_SLICE),
        "arm": row.name,
        "student": row.student,
        "view": view,
        "slice": name,
        "metric": METRIC,
        "users": compared.users,
        "seeds": compared.seeds,
        "baseline": compared.a,
        "value": compared.b,
        "difference": compared.difference,
        "low": compared.low,
        "high": compared.high,
        "p": compared.p,
    }


Differences = dict[tuple[str, str], dict[str, Any] | None]


def differences_of(results: Results) -> Differences:
    """Compare every row with its baseline; (arm, student) → the difference, computed once for all parts of a report."""
    return {(row.name, row.student): difference_row(results, row) for row in results.rows}


def share_of_gain(differences: Differences, control: Row, arm: str) -> float | None:
    """The share of an arm's gain that a control shows too; None where no gain is shown."""
    gain, shown = differences.get((arm, control.student)), differences[control.name, control.student]
    if gain is None or shown is None or gain["low"] <= 0:
        return None
    return float(shown["difference"] / gain["difference"])


def difference_row(results: Results, row: Row) -> dict[str, Any] | None:
    """Compare the row with its baseline on all users; None for floors and for the baseline itself."""
    base = results.baseline(row.student)
    if base is None or base is row:
        return None
    return _difference(row, "all", "", base.ranks, row.ranks, whole=True)
