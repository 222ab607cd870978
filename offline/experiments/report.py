"""The report of an experiment: Markdown, a Parquet table of all comparisons, pictures."""

from pathlib import Path
from typing import Any

import polars as pl

from offline.experiments.pictures import draw_differences
from offline.experiments.results import METRICS, Found, Row, difference_row, interval, slice_rows
from offline.experiments.verdicts import percent, verdicts
from shared.errors import RetortError

REPORT = "report.md"
TABLE = "results.parquet"


def write_report(found: Found) -> Path:
    """Write report.md, results.parquet and the pictures into the experiment's folder; the path of report.md."""
    if not found.rows:
        raise RetortError(f"experiment {found.bench.plan.name} has no finished run yet; run it first.")
    folder = found.bench.folder
    differences = {(row.name, row.student): difference_row(found, row) for row in found.rows}
    cut = [one for row in found.rows for one in slice_rows(found, row)]
    whole = [one for one in differences.values() if one is not None]
    pl.DataFrame([*_means(found), *whole, *cut], infer_schema_length=None).write_parquet(folder / TABLE)
    pictures = _draw(found, whole, cut, folder)
    parts = [
        _head(found),
        _accuracy(found, differences),
        "## Verdicts\n\n" + "\n".join(f"- {line}" if line.startswith("*") else line for line in verdicts(found)),
        _cost(found),
        _slices(cut),
        "\n\n".join(f"![{name}]({name})" for name in pictures),
    ]
    path = folder / REPORT
    path.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")
    return path


def _head(found: Found) -> str:
    plan, first = found.bench.plan, found.rows[0].records[0]
    commits = sorted({str(record["commit"])[:16] for row in found.rows for record in row.records})
    seen = "hidden" if plan.recipe(plan.config.baseline, plan.students[0], {}).evaluation.hide_seen else "shown"
    search = len(plan.trials(plan.config.baseline))
    lines = [
        f"# {plan.config.description or plan.name}",
        f"`retort experiment run {plan.name}{' --data DIR' if found.bench.data else ''}`, code {', '.join(commits)}.",
        f'Protocol "{first["protocol"]}", full ranking, seen items {seen}, {first["cases"]:,} test cases; '
        f"{search} setting(s) an arm, chosen by validation NDCG@10 with the first seed; test scored once a run, on the "
        "exported graph. ± is the 95 % interval over seeds; differences are paired over users, seeds resampled too.",
    ]
    if len(commits) > 1 or any("+changes" in str(r["commit"]) for row in found.rows for r in row.records):
        lines.append("**The runs were made by more than one state of the code.**")
    if found.missing:
        lines.append(f"Not run yet: {'; '.join(found.missing)}.")
    return "\n\n".join(lines)


def _accuracy(found: Found, differences: dict[tuple[str, str], dict[str, Any] | None]) -> str:
    columns = ["arm", "student", "seeds", *(metric.upper() for metric in METRICS), "NDCG@10 to baseline", "p"]
    lines = [_line(columns), _line(["---"] * len(columns))]
    for row in found.rows:
        compared = differences[row.name, row.student]
        name = f"{row.name} (control)" if row.arm and row.arm.control else row.name
        cells = [name, row.student, str(len(row.records)), *(_mean(row, metric) for metric in METRICS)]
        cells += ["", ""] if compared is None else [percent(compared), f"{compared['p']:.2g}"]
        lines.append(_line(cells))
    return "\n".join(lines)


def _mean(row: Row, metric: str) -> str:
    if not (values := row.test(metric)):
        return "–"
    mean, half = interval(values)
    return f"{mean:.4f}" if half is None else f"{mean:.4f} ± {half:.4f}"


def _means(found: Found) -> list[dict[str, Any]]:
    """Every metric of every row and view, seeds averaged: rows of the Parquet table without a comparison."""
    rows: list[dict[str, Any]] = []
    views = ["", *(view.name for view in found.bench.plan.config.views)]
    for row in found.rows:
        for view in views:
            for metric in METRICS:
                if values := row.test(metric, view):
                    mean, half = interval(values)
                    rows.append(
                        {
                            "arm": row.name,
                            "student": row.student,
                            "view": view,
                            "slice": "mean over seeds",
                            "metric": metric,
                            "seeds": len(values),
                            "value": mean,
                            "half_interval": half,
                        }
                    )
    return rows


def _cost(found: Found) -> str:
    columns = ["arm", "student", "s an epoch", "epochs", "teacher, s", "parameters", "bundle, kB", "graph, ms"]
    lines = ["## Cost", "", _line(columns), _line(["---"] * len(columns))]
    for row in found.rows:
        costs = [record["cost"] for record in row.records if record["cost"]]
        if costs:
            mean = {key: sum(cost[key] for cost in costs) / len(costs) for key in costs[0]}
            lines.append(
                _line(
                    [
                        row.name,
                        row.student,
                        f"{mean['epoch_s']:.2f}",
                        f"{mean['epochs']:.0f}",
                        f"{mean['teacher_s']:.0f}",
                        f"{mean['parameters']:,.0f}",
                        f"{mean['bundle_bytes'] / 1000:,.0f}",
                        f"{mean['latency_ms']:.2f}",
                    ]
                )
            )
    lines += ["", "Seconds and milliseconds were taken on a machine that may have had other work; one thread."]
    return "\n".join(lines)


def _slices(cut: list[dict[str, Any]]) -> str:
    if not cut:
        return ""
    columns = ["arm", "student", "look", "slice", "users", "baseline", "arm's", "difference"]
    lines = ["## Slices and looks (NDCG@10)", "", _line(columns), _line(["---"] * len(columns))]
    for one in cut:
        numbers = [f"{one['users']:,}", f"{one['baseline']:.4f}", f"{one['value']:.4f}", percent(one)]
        lines.append(_line([one["arm"], one["student"], one["view"] or "test", one["slice"], *numbers]))
    return "\n".join(lines)


def _draw(found: Found, whole: list[dict[str, Any]], cut: list[dict[str, Any]], folder: Path) -> list[str]:
    drawn: list[str] = []
    if whole:
        draw_differences(
            whole, [f"{one['arm']} · {one['student']}" for one in whole], found.bench.plan.name, folder / "arms.png"
        )
        drawn.append("arms.png")
    real = {row.name for row in found.rows if row.arm and not row.arm.control}
    for name, student in dict.fromkeys((one["arm"], one["student"]) for one in cut if one["arm"] in real):
        mine = [one for one in cut if (one["arm"], one["student"]) == (name, student)]
        file = f"slices-{name}-{student}.png".replace(" ", "_").replace(",", "")
        draw_differences(mine, [one["view"] or one["slice"] for one in mine], f"{name} · {student}", folder / file)
        drawn.append(file)
    return drawn


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
