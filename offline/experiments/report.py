"""The report of an experiment: Markdown, a Parquet table of all comparisons, pictures; and one page of several."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from retort.offline.evaluation.interval import interval
from retort.offline.experiments.pictures import draw_differences
from retort.offline.experiments.results import METRICS, Differences, Results, differences_of, slice_rows
from retort.offline.experiments.tables import accuracy_table, cost_table, headline_table, slice_table
from retort.offline.experiments.verdicts import verdicts
from retort.shared.base.errors import RetortError

REPORT = "report.md"
TABLE = "results.parquet"
_COST_NOTE = "Seconds and milliseconds were taken on a machine that may have had other work; one thread."
_SECTION = "## "
_PAGE_TITLE = "# Results"
_PAGE_HEAD = f"""{_PAGE_TITLE}

Written by `retort experiment report`; do not edit. Each section says by which command and code its runs were made.

± is the 95 % interval over seeds (Student's t). Differences are paired over users, in per cent of the baseline, with
the 95 % interval of a bootstrap that resamples users and seeds; p is two-sided and not corrected for the number of
rows. "Share of the gain" is a control's difference over that of its arm, told only where that arm's gain is shown; a
control knows less on purpose. "Teacher" is all that the teaching needs beyond the student's own steps. """


def write_report(found: Results) -> Path:
    """Write report.md, results.parquet and the pictures into the experiment's folder; the path of report.md."""
    _check(found)
    folder, differences = found.experiment.folder, differences_of(found)
    cut = [one for row in found.rows for one in slice_rows(found, row)]
    whole = [one for one in differences.values() if one is not None]
    pl.DataFrame([*_means(found), *whole, *cut], infer_schema_length=None).write_parquet(folder / TABLE)
    pictures = _draw(found, whole, cut, folder)
    parts = [
        f"# {_title(found)}",
        _head(found),
        accuracy_table(found, differences),
        "## Verdicts\n\n" + _verdict_list(found, differences),
        f"## Cost\n\n{cost_table(found)}\n\n{_COST_NOTE}",
        f"## Slices and looks (NDCG@10)\n\n{slice_table(cut)}" if cut else "",
        "\n\n".join(f"![{name}]({name})" for name in pictures),
    ]
    return _write(folder / REPORT, parts)


def write_page(experiments: Sequence[Results], path: Path) -> Path:
    """One page of experiments, a section and a table each: `docs/results.md`.

    Sections of other experiments that stand there already stay, in their places: the runs behind them may be gone.
    """
    sections = _kept_sections(path)
    for found in experiments:
        _check(found)
        differences = differences_of(found)
        table = headline_table(found, differences)
        parts = [f"{_SECTION}{_title(found)}", _head(found), table, _verdict_list(found, differences)]
        sections[found.experiment.command] = "\n\n".join(part for part in parts if part)
    path.parent.mkdir(parents=True, exist_ok=True)
    return _write(path, [_PAGE_HEAD + _COST_NOTE, *sections.values()])


def _kept_sections(path: Path) -> dict[str, str]:
    """The command that made it → a section of the page, in the page's order; nothing without a page."""
    if not path.exists():
        return {}
    head, *sections = re.split(f"^{_SECTION}", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    commands = [re.search(r"^`(retort experiment run [^`]+)`", section, re.MULTILINE) for section in sections]
    if not head.startswith(_PAGE_TITLE) or None in commands:
        raise RetortError(f"{path} is no page of results; name another file by --to, or move it away.")
    told = zip(commands, sections, strict=True)
    return {found.group(1): _SECTION + section.strip() for found, section in told if found is not None}


def _check(found: Results) -> None:
    if not found.rows:
        raise RetortError(f"experiment {found.experiment.plan.name} has no finished run yet; run it first.")


def _write(path: Path, parts: Sequence[str]) -> Path:
    """Beside, then renamed: a page that is being read is never half a page."""
    beside = path.with_suffix(".new")
    beside.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")
    os.replace(beside, path)
    return path


def _title(found: Results) -> str:
    return found.experiment.plan.config.description or found.experiment.plan.name


def _verdict_list(found: Results, differences: Differences) -> str:
    return "\n".join(f"- {line}" if line.startswith("*") else line for line in verdicts(found, differences))


def _head(found: Results) -> str:
    plan, first = found.experiment.plan, found.rows[0].records[0]
    states = {str(record["commit"]) for row in found.rows for record in row.records}
    commits = sorted({state[:16] for state in states})
    seen = "hidden" if plan.recipe(plan.config.baseline, plan.students[0], {}).evaluation.hide_seen else "shown"
    search = len(plan.trials(plan.config.baseline))
    lines = [
        f"`{found.experiment.command}`, code {', '.join(commits)}.",
        f'Protocol "{first["protocol"]}", full ranking, seen items {seen}, {first["cases"]:,} test cases; '
        f"{search} setting(s) an arm, chosen by validation NDCG@10 with the first seed; test scored once a run, on the "
        f'exported graph. Baseline: "{plan.config.baseline}" with the same student.',
    ]
    if len(commits) > 1:
        lines.append("**The runs were made by more than one commit.**")
    if any("+changes" in state for state in states):
        lines.append("**Some runs were made by code with changes that no commit holds.**")
    if found.missing:
        lines.append(f"Not run yet: {'; '.join(found.missing)}.")
    wanted = len(plan.config.seeds)
    few = [row for row in found.rows if row.arm is not None and len(row.records) < wanted]
    if few:
        told = "; ".join(f"{row.name} · {row.student} has {len(row.records)}" for row in few)
        lines.append(f"Not all of {wanted} seeds are run yet: {told}.")
    return "\n\n".join(lines)


def _means(found: Results) -> list[dict[str, Any]]:
    """Every metric of every row and view, seeds averaged: rows of the Parquet table without a comparison."""
    rows: list[dict[str, Any]] = []
    views = ["", *(view.name for view in found.experiment.plan.config.views)]
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


def _draw(found: Results, whole: list[dict[str, Any]], cut: list[dict[str, Any]], folder: Path) -> list[str]:
    drawn: list[str] = []
    if whole:
        draw_differences(
            whole,
            [f"{one['arm']} · {one['student']}" for one in whole],
            found.experiment.plan.name,
            folder / "arms.png",
        )
        drawn.append("arms.png")
    real = {row.name for row in found.rows if row.arm and not row.arm.control}
    for name, student in dict.fromkeys((one["arm"], one["student"]) for one in cut if one["arm"] in real):
        mine = [one for one in cut if (one["arm"], one["student"]) == (name, student)]
        file = f"slices-{name}-{student}.png".replace(" ", "_").replace(",", "")
        draw_differences(mine, [one["view"] or one["slice"] for one in mine], f"{name} · {student}", folder / file)
        drawn.append(file)
    return drawn
