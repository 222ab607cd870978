"""Report of an experiment: Markdown, a Parquet table of all comparisons, pictures; and one page of several reports."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from retort.offline.evaluation.compare import interval
from retort.offline.experiments.results import METRICS, Differences, Results, differences_of, slice_rows
from retort.offline.experiments.tables import accuracy_table, cost_table, draw_differences, headline_table, slice_table
from retort.offline.experiments.verdicts import verdicts
from retort.shared.base.errors import RetortError

REPORT = "report.md"
TABLE = "results.parquet"
_COST_NOTE = "Seconds and milliseconds were measured on one thread of a machine that may have had other load."
_SECTION = "## "
_PAGE_TITLE = "# Results"
_PAGE_HEAD = f"""{_PAGE_TITLE}

Written by `retort experiment report`; do not edit. Each section names the command and the code of its runs.

± is the 95 % interval over seeds (Student's t). Differences are paired over users, in per cent of the baseline, with
the 95 % interval of a bootstrap that resamples users and seeds; p is two-sided and not corrected for the number of
rows. A control has a teacher without knowledge of the user or item. "Share of the gain" is the difference of a control
divided by the difference of the arm that it explains; it is given only where that arm's gain is shown. "Teacher" is the
time of all steps that the teacher requires, without the steps of the student itself. An arm called "faithful" has the
losses of the paper with the student, data, training and texts of this experiment; it is not the published recipe.
Rows without a student are baselines without training; they are computed once. """
_COLUMNS = ("arm", "slice", "users", "seeds", "baseline", "value", "difference", "low", "high", "p")


def write_report(results: Results) -> Path:
    """Write report.md, results.parquet and the pictures into the experiment's folder; the path of report.md."""
    _check(results)
    folder, differences = results.experiment.folder, differences_of(results)
    slices = [one for row in results.rows for one in slice_rows(results, row)]
    whole = [one for one in differences.values() if one is not None]
    pl.DataFrame([*_means(results), *whole, *slices], infer_schema_length=None).write_parquet(folder / TABLE)
    pictures = _draw(results, whole, slices, folder)
    parts = [
        f"# {results.experiment.plan.title}",
        _head(results),
        accuracy_table(results, differences),
        "## Verdicts\n\n" + _verdict_list(results, differences),
        f"## Cost\n\n{cost_table(results)}\n\n{_COST_NOTE}",
        f"## Slices and views (NDCG@10)\n\n{slice_table(slices)}" if slices else "",
        "\n\n".join(f"![{name}]({name})" for name in pictures),
    ]
    return _write(folder / REPORT, parts)


def write_comparison(results: Results, folder: Path, name: str) -> tuple[list[dict[str, Any]], Path, Path]:
    """Write the arms' differences from the baseline as a table and a picture into a folder.

    Returns:
        The rows, NAME.csv and NAME.png. Where the plan declares slices, the rows of each slice follow.
    """
    _check(results)
    rows = [one for one in differences_of(results).values() if one is not None]
    if results.experiment.plan.config.slices:
        rows += [one for row in results.rows for one in slice_rows(results, row)]
    folder.mkdir(parents=True, exist_ok=True)
    table, picture = folder / f"{name}.csv", folder / f"{name}.png"
    shown = [{column: row[column] for column in _COLUMNS} for row in rows]
    pl.DataFrame(shown).write_csv(table, float_precision=6)
    labels = [row["arm"] if row["slice"] == "all" else f"{row['arm']}: {row['slice']}" for row in rows]
    draw_differences(rows, labels, results.experiment.plan.title, picture)
    return shown, table, picture


def write_page(experiments: Sequence[Results], path: Path) -> Path:
    """Write one page of experiments, a section and a table each: `docs/results.md`.

    Sections of other experiments that the page has already keep their places: the runs behind them may be gone.
    """
    sections = _kept_sections(path)
    for results in experiments:
        _check(results)
        differences = differences_of(results)
        table = headline_table(results, differences)
        parts = [
            f"{_SECTION}{results.experiment.plan.title}",
            _head(results),
            table,
            _verdict_list(results, differences),
        ]
        sections[results.experiment.command] = "\n\n".join(part for part in parts if part)
    path.parent.mkdir(parents=True, exist_ok=True)
    return _write(path, [_PAGE_HEAD + _COST_NOTE, *sections.values()])


def _kept_sections(path: Path) -> dict[str, str]:
    """The sections of an existing page, by their command, in the page's order; empty without a page."""
    if not path.exists():
        return {}
    head, *sections = re.split(f"^{_SECTION}", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    commands = [re.search(r"^`(retort experiment [^`]+)`", section, re.MULTILINE) for section in sections]
    if not head.startswith(_PAGE_TITLE) or None in commands:
        raise RetortError(f"{path} is no page of results; name another file with --to, or move this one.")
    pairs = zip(commands, sections, strict=True)
    return {command.group(1): _SECTION + section.strip() for command, section in pairs if command is not None}


def _check(results: Results) -> None:
    if not results.rows:
        raise RetortError(f"experiment {results.experiment.plan.name} has no finished run yet; run it first.")


def _write(path: Path, parts: Sequence[str]) -> Path:
    """Write a temporary file, then rename it, so that no reader sees half a page."""
    temporary = path.with_suffix(".new")
    temporary.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")
    os.replace(temporary, path)
    return path


def _verdict_list(results: Results, differences: Differences) -> str:
    return "\n".join(f"- {line}" if line.startswith("*") else line for line in verdicts(results, differences))


def _head(results: Results) -> str:
    plan, first = results.experiment.plan, results.rows[0].records[0]
    states = {str(record["commit"]) for row in results.rows for record in row.records}
    commits = sorted({state[:16] for state in states})
    seen = "hidden" if plan.baseline_recipe().evaluation.hide_seen else "shown"
    n_settings = len(plan.trials(plan.config.baseline))
    lines = [
        f"`{results.experiment.command}`, code {', '.join(commits)}.",
        f'Protocol "{first["protocol"]}", full ranking, seen items {seen}, {first["cases"]:,} test cases; '
        f"{n_settings} setting(s) for each arm, selected by validation NDCG@10 with the first seed; each run scores "
        f'the test once, on the exported graph. Baseline: "{plan.config.baseline}" with the same student.',
    ]
    if len(commits) > 1:
        lines.append("**The runs were made by more than one commit.**")
    if any("+changes" in state for state in states):
        lines.append("**Some runs were made by code with changes that no commit holds.**")
    if results.missing:
        lines.append(f"Not run yet: {'; '.join(results.missing)}.")
    expected = len(plan.config.seeds)
    few = [row for row in results.rows if row.arm is not None and len(row.records) < expected]
    if few:
        counts = "; ".join(f"{row.name} · {row.student} has {len(row.records)}" for row in few)
        lines.append(f"Not all of {expected} seeds have run yet: {counts}.")
    return "\n\n".join(lines)


def _means(results: Results) -> list[dict[str, Any]]:
    """Mean over seeds of every metric, row and view: rows of the Parquet table without a comparison."""
    rows: list[dict[str, Any]] = []
    views = ["", *(view.name for view in results.experiment.plan.config.views)]
    for row in results.rows:
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


def _draw(results: Results, whole: list[dict[str, Any]], slices: list[dict[str, Any]], folder: Path) -> list[str]:
    """Draw all arms, and the slices of each arm that is no control; the names of the files."""
    names: list[str] = []
    if whole:
        labels = [f"{one['arm']} · {one['student']}" for one in whole]
        draw_differences(whole, labels, results.experiment.plan.name, folder / "arms.png")
        names.append("arms.png")
    arms = {row.name for row in results.rows if row.arm and not row.arm.control}
    for name, student in dict.fromkeys((one["arm"], one["student"]) for one in slices if one["arm"] in arms):
        mine = [one for one in slices if (one["arm"], one["student"]) == (name, student)]
        file = f"slices-{name}-{student}.png".replace(" ", "_").replace(",", "")
        draw_differences(mine, [one["view"] or one["slice"] for one in mine], f"{name} · {student}", folder / file)
        names.append(file)
    return names
