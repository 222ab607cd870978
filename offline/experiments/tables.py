"""Markdown tables and pictures of an experiment: accuracy, cost, slices, and the table of `docs/results.md`."""

from pathlib import Path
from typing import Any

import numpy as np

from retort.offline.evaluation.compare import interval
from retort.offline.experiments.results import METRICS, Differences, Results, Row, share_of_gain
from retort.offline.experiments.verdicts import p_value, percent, share_cell

_INCHES_PER_ROW = 0.32
_HEADLINE = ("hr@10", "ndcg@10")
_COST = {
    "epoch_s": ("s an epoch", "{:.2f}"),
    "epochs": ("epochs", "{:.0f}"),
    "teacher_s": ("teacher, s", "{:.0f}"),
    "parameters": ("parameters", "{:,.0f}"),
    "bundle_bytes": ("bundle, bytes", "{:,.0f}"),
    "latency_ms": ("graph, ms", "{:.2f}"),
}
_HEADLINE_COST = ("epoch_s", "epochs", "teacher_s", "parameters", "latency_ms")


def headline_table(results: Results, differences: Differences) -> str:
    """Accuracy with the paired difference, then seeds, the controls' shares of a gain and cost.

    Two tables with a row for each method and student: the first one is narrow enough for a phone.
    """
    accuracy = ["method", "student", *(metric.upper() for metric in _HEADLINE), "NDCG@10 compared with the baseline"]
    details = ["method", "student", "seeds", "share of the gain", *(_COST[key][0] for key in _HEADLINE_COST)]
    accuracy_rows, detail_rows = [], []
    for row in results.rows:
        name, student, seeds, *means, difference, p = _accuracy_cells(row, differences, _HEADLINE)
        compared = f"{difference}, p {p if p[:1] in '≤<' else f'= {p}'}" if difference else ""
        accuracy_rows.append([name, student, *means, compared])
        cost = mean_cost(row)
        cells = [_COST[key][1].format(cost[key]) if cost else "" for key in _HEADLINE_COST]
        detail_rows.append([name, student, seeds, _shares(row, differences), *cells])
    return f"{table(accuracy, accuracy_rows)}\n\n{table(details, detail_rows)}"


def accuracy_table(results: Results, differences: Differences) -> str:
    """Every metric of every row, and NDCG@10 compared with the baseline."""
    columns = ["arm", "student", "seeds", *(metric.upper() for metric in METRICS), "NDCG@10 to baseline", "p"]
    return table(columns, [_accuracy_cells(row, differences, METRICS) for row in results.rows])


def _accuracy_cells(row: Row, differences: Differences, metrics: tuple[str, ...]) -> list[str]:
    compared = differences[row.name, row.student]
    name = f"{row.name} (control)" if row.arm and row.arm.control else row.name
    cells = [name, row.student, str(len(row.records)), *(_mean(row, metric) for metric in metrics)]
    if compared is None:
        return [*cells, "", ""]
    return [*cells, percent(compared), p_value(compared).removeprefix("p ").removeprefix("= ")]


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


def cost_table(results: Results) -> str:
    """Seconds, parameters, bytes and milliseconds of every row that trains."""
    rows = [
        [row.name, row.student, *(shown.format(cost[key]) for key, (_, shown) in _COST.items())]
        for row in results.rows
        if (cost := mean_cost(row))
    ]
    return table(["arm", "student", *(title for title, _ in _COST.values())], rows)


def slice_table(slices: list[dict[str, Any]]) -> str:
    """NDCG@10 of each slice and view, compared with the baseline."""
    columns = ["arm", "student", "view", "slice", "users", "baseline", "value", "difference"]
    rows = []
    for one in slices:
        numbers = [f"{one['users']:,}", f"{one['baseline']:.4f}", f"{one['value']:.4f}", percent(one)]
        rows.append([one["arm"], one["student"], one["view"] or "test", one["slice"], *numbers])
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
