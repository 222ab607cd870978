"""Markdown tables and pictures of an experiment: accuracy, cost, slices, and the table of `docs/results.md`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from retort.offline.evaluation.compare import interval
from retort.offline.experiments.results import METRICS, Differences, Results, Row, share_of_gain
from retort.offline.experiments.verdicts import p_value, percent, share_cell

_INCHES_PER_ROW = 0.32
_HEADLINE = ("hr@10", "ndcg@10")
_COST = {
    "epoch_s": ("s per epoch", "{:.2f}"),
    "epochs": ("epochs", "{:.0f}"),
    "teacher_s": ("teacher, s", "{:.0f}"),
    "parameters": ("parameters", "{:,.0f}"),
    "bundle_bytes": ("bundle, bytes", "{:,.0f}"),
    "latency_ms": ("graph, ms", "{:.2f}"),
}
_HEADLINE_COST = ("epoch_s", "teacher_s", "parameters", "latency_ms")


def headline_table(results: Results, differences: Differences) -> str:
    """Write the accuracy with the paired difference, then seeds, the controls' shares of a gain and epochs, then cost.

    Each table has at most six columns, which a phone can show. Only rows that train are in the second and third table.
    """
    trained = [row for row in results.rows if row.arm]
    run_rows = [
        [*_names(row), str(len(row.records)), _shares(row, differences), *_cost_cells(row, ["epochs"])]
        for row in trained
    ]
    cost_rows = [[*_names(row), *_cost_cells(row, _HEADLINE_COST)] for row in trained]
    runs = table(["method", "student", "seeds", "share of the gain", "epochs"], run_rows)
    costs = table(["method", "student", *(_COST[key][0] for key in _HEADLINE_COST)], cost_rows)
    return f"{_accuracy_table('method', results, differences)}\n\n{runs}\n\n{costs}"


def accuracy_table(results: Results, differences: Differences) -> str:
    """Write HR@10 and NDCG@10 of every row compared with the baseline, then the other metrics."""
    others = [metric for metric in METRICS if metric not in _HEADLINE]
    columns = ["arm", "student", *(metric.upper() for metric in others)]
    rows = [[*_names(row), *(_mean(row, metric) for metric in others)] for row in results.rows]
    return f"{_accuracy_table('arm', results, differences)}\n\n{table(columns, rows)}"


def _accuracy_table(name: str, results: Results, differences: Differences) -> str:
    columns = [name, "student", *(metric.upper() for metric in _HEADLINE), "NDCG@10 compared with the baseline"]
    rows = []
    for row in results.rows:
        compared = differences[row.name, row.student]
        cell = f"{percent(compared)}, {p_value(compared)}" if compared else ""
        rows.append([*_names(row), *(_mean(row, metric) for metric in _HEADLINE), cell])
    return table(columns, rows)


def _names(row: Row) -> list[str]:
    """Cells of the arm and the student; a ranker without training has no student."""
    if row.arm is None:
        return [row.name, "–"]
    return [f"{row.name} (control)" if row.arm.control else row.name, row.student]


def _shares(row: Row, differences: Differences) -> str:
    """The share that a control shows of each gain that it explains, in the order of the file."""
    explained = row.arm.explains if row.arm else []
    shares = [(arm, share_cell(share_of_gain(differences, row, arm))) for arm in explained]
    shown = [(arm, share) for arm, share in shares if share]
    if len(explained) == 1:
        return "".join(share for _, share in shown)
    return ", ".join(f"{share} of {arm}" for arm, share in shown)


def _mean(row: Row, metric: str) -> str:
    if not (values := row.test(metric)):
        return "–"
    mean, half = interval(values)
    return f"{mean:.4f}" if half is None else f"{mean:.4f} ± {half:.4f}"


def mean_cost(row: Row) -> dict[str, float]:
    """Mean cost of the row's runs over seeds; empty for floors."""
    costs = [record["cost"] for record in row.records if record["cost"]]
    return {key: sum(cost[key] for cost in costs) / len(costs) for key in costs[0]} if costs else {}


def _cost_cells(row: Row, keys: Sequence[str]) -> list[str]:
    cost = mean_cost(row)
    return [_COST[key][1].format(cost[key]) if cost else "" for key in keys]


def cost_table(results: Results) -> str:
    """Write seeds, seconds and epochs of every row that trains, then parameters, bytes and milliseconds."""
    rows = [row for row in results.rows if row.arm]
    times, sizes = list(_COST)[:3], list(_COST)[3:]
    time_rows = [[*_names(row), str(len(row.records)), *_cost_cells(row, times)] for row in rows]
    size_rows = [[*_names(row), *_cost_cells(row, sizes)] for row in rows]
    time_table = table(["arm", "student", "seeds", *(_COST[key][0] for key in times)], time_rows)
    return f"{time_table}\n\n{table(['arm', 'student', *(_COST[key][0] for key in sizes)], size_rows)}"


def slice_table(slices: list[dict[str, Any]]) -> str:
    """Write NDCG@10 of each slice and view, compared with the baseline."""
    columns = ["arm", "student", "slice or view", "users", "baseline → value", "difference"]
    rows = []
    for row in slices:
        numbers = [f"{row['users']:,}", f"{row['baseline']:.4f} → {row['value']:.4f}", percent(row)]
        rows.append([row["arm"], row["student"], row["view"] or row["slice"], *numbers])
    return table(columns, rows)


def table(columns: list[str], rows: list[list[str]]) -> str:
    """Write a Markdown table; a bar in a name is escaped, or it would end its cell."""
    lines = [columns, ["---"] * len(columns), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def draw_differences(rows: list[dict[str, Any]], labels: list[str], title: str, path: Path) -> None:
    """Draw the differences from the baseline in per cent of it, with their 95 % intervals; one line a row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.4 + _INCHES_PER_ROW * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)  # no display is needed, and no state is shared
    axes = figure.subplots()
    base = np.array([row["baseline"] or np.nan for row in rows])
    middle, low, high = (np.array([row[key] for row in rows]) / base * 100 for key in ("difference", "low", "high"))
    places = np.arange(len(rows))[::-1]
    axes.errorbar(middle, places, xerr=[(middle - low).clip(0), (high - middle).clip(0)], fmt="o", capsize=3)
    axes.axvline(0.0, color="grey", linewidth=0.8)
    axes.set_yticks(places, labels)
    axes.set(xlabel="difference to the baseline in NDCG@10, % (95 %)", title=title)
    figure.savefig(path, dpi=120)
