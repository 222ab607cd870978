"""An experiment's Markdown tables: accuracy, cost, slices, and the one that stands in `docs/results.md`."""

from typing import Any

from retort.offline.evaluation.interval import interval
from retort.offline.experiments.results import METRICS, Differences, Results, Row, share_of_gain
from retort.offline.experiments.verdicts import p_value, percent, share_cell

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


def headline_table(found: Results, differences: Differences) -> str:
    """Method × student: accuracy, the paired difference, what controls show of a gain, and cost; a row each."""
    columns = ["method", "student", "seeds", *(metric.upper() for metric in _HEADLINE), "NDCG@10 to baseline", "p"]
    columns += ["share of the gain", *(_COST[key][0] for key in _HEADLINE_COST)]
    rows = []
    for row in found.rows:
        cost = mean_cost(row)
        rows.append(
            [
                *_accuracy_cells(row, differences, _HEADLINE),
                _shares(row, differences),
                *(_COST[key][1].format(cost[key]) if cost else "" for key in _HEADLINE_COST),
            ]
        )
    return table(columns, rows)


def accuracy_table(found: Results, differences: Differences) -> str:
    """Every metric of every row, and NDCG@10 against the baseline."""
    columns = ["arm", "student", "seeds", *(metric.upper() for metric in METRICS), "NDCG@10 to baseline", "p"]
    return table(columns, [_accuracy_cells(row, differences, METRICS) for row in found.rows])


def _accuracy_cells(row: Row, differences: Differences, metrics: tuple[str, ...]) -> list[str]:
    compared = differences[row.name, row.student]
    name = f"{row.name} (control)" if row.arm and row.arm.control else row.name
    cells = [name, row.student, str(len(row.records)), *(_mean(row, metric) for metric in metrics)]
    if compared is None:
        return [*cells, "", ""]
    return [*cells, percent(compared), p_value(compared).removeprefix("p ").removeprefix("= ")]


def _shares(row: Row, differences: Differences) -> str:
    """What a control shows of each gain that it explains, in the order of the file."""
    explained = row.arm.explains if row.arm else []
    shares = [(arm, share_cell(share_of_gain(differences, row, arm))) for arm in explained]
    told = [(arm, share) for arm, share in shares if share]
    if len(explained) == 1:
        return "".join(share for _, share in told)
    return ", ".join(f"{share} of {arm}" for arm, share in told)


def _mean(row: Row, metric: str) -> str:
    if not (values := row.test(metric)):
        return "–"
    mean, half = interval(values)
    return f"{mean:.4f}" if half is None else f"{mean:.4f} ± {half:.4f}"


def mean_cost(row: Row) -> dict[str, float]:
    """What the row's runs cost, averaged over seeds; empty for floors."""
    costs = [record["cost"] for record in row.records if record["cost"]]
    return {key: sum(cost[key] for cost in costs) / len(costs) for key in costs[0]} if costs else {}


def cost_table(found: Results) -> str:
    """Seconds, parameters, bytes and milliseconds of every row that trains."""
    rows = [
        [row.name, row.student, *(shown.format(cost[key]) for key, (_, shown) in _COST.items())]
        for row in found.rows
        if (cost := mean_cost(row))
    ]
    return table(["arm", "student", *(title for title, _ in _COST.values())], rows)


def slice_table(cut: list[dict[str, Any]]) -> str:
    """NDCG@10 of each slice and view, beside the baseline's."""
    columns = ["arm", "student", "look", "slice", "users", "baseline", "arm's", "difference"]
    rows = []
    for one in cut:
        numbers = [f"{one['users']:,}", f"{one['baseline']:.4f}", f"{one['value']:.4f}", percent(one)]
        rows.append([one["arm"], one["student"], one["view"] or "test", one["slice"], *numbers])
    return table(columns, rows)


def table(columns: list[str], rows: list[list[str]]) -> str:
    """Markdown. A name with a bar in it would end its cell."""
    lines = [columns, ["---"] * len(columns), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
