"""Page of a run report: facts to one HTML file that needs no network and no script."""

import os
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from retort.offline.pipeline.context import RunContext
from retort.offline.pipeline.dag import Pipeline
from retort.offline.run_report import facts as of
from retort.offline.run_report.charts import bar_chart, forest_plot, line_chart, scatter_plot
from retort.offline.run_report.facts import Facts, collect_facts

REPORTS = "reports"
_STYLE = Path(__file__).with_name("page.css")


def write_report(pipelines: dict[str, Pipeline[RunContext]], command: str, out: Path) -> Path:
    """Write the report of finished pipelines to `out/reports/RECIPE.html`; returns its path.

    Args:
        pipelines: Name of the arm → its pipeline; the baseline first.
        command: The command that made the run, as a person repeats it.
        out: Run directory.
    """
    facts = collect_facts(pipelines)
    path = out / REPORTS / f"{facts.recipe}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(report_page(facts, command), encoding="utf-8")
    os.replace(partial, path)
    return path


def report_page(facts: Facts, command: str) -> str:
    """Return the page as HTML."""
    sections = (
        _overview(facts),
        _comparison(facts),
        _by_slices(facts),
        _data(facts),
        _training(facts),
        _map(facts),
        _users(facts),
        _steps(facts),
        _card("Command", f"<pre>{escape(command)}</pre>", wide=True),
    )
    title = f"Run report: {escape(facts.recipe)}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE.read_text(encoding='utf-8')}</style></head><body><main><h1>{title}</h1>"
        f'<p class="lead">Protocol {escape(facts.protocol)}: full ranking of the catalogue. '
        "The test was scored once, by the exported graph.</p>"
        f'<div class="cards">{"".join(sections)}</div></main></body></html>'
    )


def _card(title: str, body: str, *, wide: bool = False) -> str:
    return f"<section{' class=wide' if wide else ''}><h2>{escape(title)}</h2>{body}</section>"


def _overview(facts: Facts) -> str:
    report = facts.tables.report
    removed = report.removed
    shown = {
        "events": f"{report.interactions:,}",
        "users": f"{report.users:,}",
        "items": f"{report.items:,}",
        "events a user": f"{report.mean_length:.1f}",
        "items with a text": f"{report.text_coverage:.0%}",
        "robots left out": f"{removed.robot_users:,} users, {removed.robots:,} events",
        "rejected rows": f"{sum(report.rejects.values()):,}",
    }
    if report.clock == "time":
        shown["from, to"] = f"{report.first[:10]}, {report.last[:10]}"
    body = "".join(
        f'<div><span>{escape(name)}</span><b class="big">{escape(value)}</b></div>' for name, value in shown.items()
    )
    return _card("Data", f'<div class="facts">{body}</div>', wide=True)


def _comparison(facts: Facts) -> str:
    popular = facts.arms[0].outcome.baselines["popularity"]
    rows = [("popularity", popular), *((f"student, {arm.name}", arm.outcome.test) for arm in facts.arms)]
    cells = [
        [name, *(f"{measured.get(metric, 0):.4f}" for metric in ("hr@10", "ndcg@10", "coverage@10"))]
        for name, measured in rows
    ]
    body = _table(("", "HR@10", "NDCG@10", "items shown"), cells)
    if len(facts.arms) > 1:
        body += forest_plot(
            of.gains(facts), "Gain in NDCG@10", "NDCG@10 compared with plain, %, 95 % interval over users"
        )
        body += '<p class="none">One training a student: the interval does not cover the seed.</p>'
    return _card("Test", body)


def _by_slices(facts: Facts) -> str:
    if len(facts.arms) < 2:
        return ""
    by_length, by_popularity = (of.gains_by(facts, name) for name in ("history_length", "target_popularity"))
    last = facts.arms[-1].name
    return _card(
        f"Gain of “{last}” by length of the history",
        forest_plot(by_length, "Gain by history length", "events in the history; NDCG@10 compared with plain, %"),
    ) + _card(
        f"Gain of “{last}” by popularity of the item",
        forest_plot(
            by_popularity, "Gain by popularity", "train events of the next item; NDCG@10 compared with plain, %"
        ),
    )


def _data(facts: Facts) -> str:
    tail, first_tenth = of.long_tail(facts.tables)
    cards = ""
    if (days := of.events_by_day(facts.tables)) is not None:
        cards += _card("Events a day", line_chart([days[0]], "Events a day", "", "events", days[1]))
    note = f'<p class="none">The most popular tenth of the items has {first_tenth:.0%} of the events.</p>'
    chart = line_chart([tail], "Share of events by share of items", "items, most popular first, %", "events, %")
    cards += _card("Long tail", chart + note)
    lengths = of.users_by_length(facts.tables)
    return cards + _card("Users by number of events", bar_chart(lengths, "Users by number of events", "users"))


def _training(facts: Facts) -> str:
    series = [arm.validation for arm in facts.arms]
    return _card("Training", line_chart(series, "Validation NDCG@10 by epoch", "epoch", "validation NDCG@10"))


def _map(facts: Facts) -> str:
    points, groups, attribute = of.item_map(facts)
    note = f" Colours: {escape(attribute)}." if attribute else ""
    body = scatter_plot(points, groups, "Map of items")
    text = f"The {len(points):,} most popular items by the student’s own vectors, two strongest directions.{note}"
    return _card("Map of items", f'{body}<p class="none">{text}</p>', wide=True)


def _users(facts: Facts) -> str:
    two = len(facts.arms) > 1
    blocks = []
    for user in of.sample_users(facts):
        columns = [("newest items", user["history"]), (facts.arms[0].name, user["before"])]
        columns += [(facts.arms[-1].name, user["after"])] if two else []
        lists = "".join(f"<div><b>{escape(name)}</b>{_ordered(items)}</div>" for name, items in columns)
        blocks.append(f'<p><b>{escape(user["user"])}</b></p><div class="users">{lists}</div>')
    return _card("Five users", "".join(blocks) or '<p class="none">No user has three events.</p>', wide=True)


def _ordered(items: Iterable[str]) -> str:
    return f"<ol>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ol>"


def _steps(facts: Facts) -> str:
    rows = [
        [arm.name, step, f"{seconds:.1f}", "–" if peak is None else f"{peak:,.0f}"]
        for arm in facts.arms
        for step, (seconds, peak) in arm.steps.items()
    ]
    return _card("Steps", _table(("student", "step", "seconds", "peak memory, MiB"), rows, numbers=2), wide=True)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], numbers: int | None = None) -> str:
    """Return a table whose last `numbers` columns are aligned as numbers; unset: all but the first."""
    first = len(header) - numbers if numbers is not None else 1
    kinds = ["" if place < first else ' class="n"' for place in range(len(header))]
    head = "".join(f"<th{kind}>{escape(name)}</th>" for kind, name in zip(kinds, header, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{escape(cell)}</td>" for kind, cell in zip(kinds, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'
