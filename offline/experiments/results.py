"""What an experiment found, in numbers: means over seeds, paired differences to the baseline, slices, verdicts.

Shapes: S seeds, U users.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import polars as pl

from retort.offline.evaluation.compare import Comparison, compare
from retort.offline.experiments.plan import ArmConfig
from retort.offline.experiments.run_unit import Experiment
from retort.offline.experiments.scheduler import Record, Scheduler
from retort.offline.experiments.selection import Selection

METRIC = "ndcg@10"
METRICS = ("hr@5", "hr@10", "hr@20", "ndcg@5", "ndcg@10", "ndcg@20")
RESAMPLES = 10_000
RESAMPLES_SLICE = 2_000
_LEAST_CASES = 20
_EDGES = {"history_length": (5, 10, 30, 100), "train_length": (30,), "target_popularity": (3, 10, 30, 100)}
_WORDS = {"history_length": "history", "train_length": "train items", "target_popularity": "target's train events"}
Mask = Callable[[pl.DataFrame], pl.DataFrame]


@dataclass(frozen=True)
class Row:
    """One arm with one student: its runs' records, by seed. `arm` is None for a floor."""

    name: str
    student: str
    arm: ArmConfig | None
    records: tuple[Record, ...]
    ranks: tuple[pl.DataFrame, ...]
    trial: Record | None = None

    def test(self, metric: str, view: str = "") -> list[float]:
        """The metric of each seed."""
        looks = [record["views"][view] if view else record for record in self.records]
        return [look["test"][metric] for look in looks if metric in look["test"]]


@dataclass(frozen=True)
class Results:
    """All rows of an experiment that have a run, and what stands against what."""

    experiment: Experiment
    rows: tuple[Row, ...]
    missing: tuple[str, ...]

    def baseline(self, student: str) -> Row | None:
        """The row that others with this student are measured against."""
        wanted = self.experiment.plan.config.baseline
        return next((row for row in self.rows if (row.name, row.student) == (wanted, student)), None)

    def controls(self, row: Row) -> list[Row]:
        """The control arms that are to explain this row's gain."""
        return [one for one in self.rows if one.arm and one.student == row.student and row.name in one.arm.explains]

    def view(self, row: Row, view: str) -> tuple[pl.DataFrame, ...]:
        """The ranks of each seed in another look at the same weights."""
        files = [record["views"][view]["ranks"] for record in row.records]
        return tuple(pl.read_parquet(self.experiment.folder / file) for file in files)


def load_results(experiment: Experiment) -> Results:
    """Read all records that the experiment has so far; arms without a run are named in `missing`."""
    scheduler = Scheduler(experiment, Selection(), again=False, say=lambda line: None)
    scheduler.start()
    rows, missing = [], []
    keys: list[tuple[str, str]] = [(name, "floor") for name in experiment.plan.config.floors]
    keys += experiment.plan.rows
    for name, student in keys:
        mine = {
            unit: record for unit, record in scheduler.records.items() if (unit.arm, unit.student) == (name, student)
        }
        runs = sorted(
            ((unit.number, record) for unit, record in mine.items() if unit.kind != "trial"), key=lambda x: x[0]
        )
        if not runs:
            missing.append(f"{name} · {student}")
            continue
        records = tuple(record for _, record in runs)
        ranks = tuple(pl.read_parquet(experiment.folder / record["ranks"]) for record in records)
        trials = [record for unit, record in mine.items() if unit.kind == "trial"]
        best = max(trials, key=lambda record: record["validation_ndcg"], default=None)
        rows.append(Row(name, student, experiment.plan.arms.get(name), records, ranks, best))
    return Results(experiment, tuple(rows), tuple(missing))


def against(a: Sequence[pl.DataFrame], b: Sequence[pl.DataFrame], *, whole: bool = True) -> Comparison:
    """Paired over users, seeds resampled too; b − a."""
    return compare(list(a), list(b), METRIC, resamples=RESAMPLES if whole else RESAMPLES_SLICE)


def slices_of(frame: pl.DataFrame) -> dict[str, Mask]:
    """name → which cases: by history, train items, the target's popularity, and the subsets that users are flagged by.

    The bins depend on nothing that a student did, so they hold the same users in every arm.
    """
    found: dict[str, Mask] = {}
    for column, edges in _EDGES.items():
        if column in frame.columns:
            for low, high in pairwise((None, *edges, None)):
                found[_bin_name(_WORDS[column], low, high)] = _between(column, low, high)
    for column in frame.columns:
        if column.startswith("subset "):
            found[column] = _flagged(column)
    return {name: mask for name, mask in found.items() if len(mask(frame)) >= _LEAST_CASES}


def _bin_name(word: str, low: int | None, high: int | None) -> str:
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


def slice_rows(found: Results, row: Row) -> list[dict[str, Any]]:
    """The row against its baseline in every slice and every view."""
    base = found.baseline(row.student)
    if base is None or base is row:
        return []
    rows = [
        _difference(row, name, "", [mask(one) for one in base.ranks], [mask(one) for one in row.ranks])
        for name, mask in slices_of(base.ranks[0]).items()
    ]
    for view in found.experiment.plan.config.views:
        rows.append(_difference(row, "all", view.name, found.view(base, view.name), found.view(row, view.name)))
    return rows


def _difference(
    row: Row, name: str, view: str, a: Sequence[pl.DataFrame], b: Sequence[pl.DataFrame], *, whole: bool = False
) -> dict[str, Any]:
    compared = against(a, b, whole=whole)
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


def differences_of(found: Results) -> Differences:
    """(arm, student) → the row against its baseline; computed once, read by every part of a report."""
    return {(row.name, row.student): difference_row(found, row) for row in found.rows}


def share_of_gain(differences: Differences, control: Row, arm: str) -> float | None:
    """How much of an arm's gain a control shows too; None where there is no gain to share."""
    gain, shown = differences.get((arm, control.student)), differences[control.name, control.student]
    if gain is None or shown is None or gain["low"] <= 0:
        return None
    return float(shown["difference"] / gain["difference"])


def difference_row(found: Results, row: Row) -> dict[str, Any] | None:
    """The row against its baseline on all users; None for floors and for the baseline itself."""
    base = found.baseline(row.student)
    if base is None or base is row:
        return None
    return _difference(row, "all", "", base.ranks, row.ranks, whole=True)
