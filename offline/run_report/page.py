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
        _comparison(facts),
        _by_slices(facts),
        _data(facts),
        _training(facts),
        _map(facts),
        _users(facts),
        _steps(facts),
        _card("Command", _scrolled(f"<pre>{escape(command)}</pre>", "Command"), wide=True),
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


def _comparison(facts: Facts) -> str:
    popular = facts.arms[0].outcome.baselines["popularity"]
    rows = [("popularity", popular), *((arm.name, arm.outcome.test) for arm in facts.arms)]
    over_popularity = of.gains(facts.popular, facts.arms)
    gained = {row.name: f"{row.value:+.1f} % [{row.low:+.1f}, {row.high:+.1f}]" for row in over_popularity}
    cells = [
        [
            name if name == "popularity" else f"student, {name}",
            *(f"{measured.get(metric, 0):.4f}" for metric in ("hr@10", "ndcg@10", "coverage@10")),
            gained.get(name, ""),
        ]
        for name, measured in rows
    ]
    header = ("", "HR@10", "NDCG@10", "items shown", "NDCG@10 compared with popularity")
    body = (
        _table(header, cells)
        + '<div class="beside">'
        + forest_plot(
            over_popularity, "Gain over popularity", "NDCG@10 compared with popularity, %, 95 % interval over users"
        )
    )
    if len(facts.arms) > 1:
        body += forest_plot(
            of.gains(facts.arms[0].ranks, facts.arms[1:]),
            "Gain in NDCG@10",
            f"NDCG@10 compared with {facts.arms[0].name}, %, 95 % interval over users",
        )
    body += (
        '</div><p class="none">Paired by user; one training a student, so the intervals do not cover the seed. '
        "“Items shown” is the share of the catalogue that is in some list.</p>"
    )
    return _card("Test", body, wide=True)


def _by_slices(facts: Facts) -> str:
    if len(facts.arms) < 2:
        return ""
    plain, best = facts.arms[0].ranks, facts.arms[-1].ranks
    by_length, by_popularity = (of.gains_by(plain, best, name) for name in ("history_length", "target_popularity"))
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
    charts = []
    if (days := of.events_by_day(facts.tables)) is not None:
        charts.append(("Events a day", line_chart([days[0]], "Events a day", "", "events", days[1])))
    tail, first_tenth = of.long_tail(facts.tables)
    note = f'<p class="none">The most popular tenth of the items has {first_tenth:.0%} of the events.</p>'
    chart = line_chart([tail], "Share of events by share of items", "items, most popular first, %", "events, %")
    charts.append(("Long tail", chart + note))
    lengths = bar_chart(of.users_by_length(facts.tables), "Users by number of events", "users")
    charts.append(("Users by number of events", lengths))
    return _card("Data", _counts(facts) + _beside(charts), wide=True)


def _counts(facts: Facts) -> str:
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
    return f'<div class="facts">{body}</div>'


def _training(facts: Facts) -> str:
    validation, loss = [arm.validation for arm in facts.arms], [arm.loss for arm in facts.arms]
    charts = [
        ("Validation NDCG@10", line_chart(validation, "Validation NDCG@10 by epoch", "epoch", "")),
        ("Loss", line_chart(loss, "Loss by epoch", "epoch", "")),
    ]
    return _card("Training", _beside(charts), wide=True)


def _beside(charts: Iterable[tuple[str, str]]) -> str:
    """Return titled charts beside each other, or below each other on a phone."""
    parts = (f"<div><h3>{escape(title)}</h3>{chart}</div>" for title, chart in charts)
    return f'<div class="beside">{"".join(parts)}</div>'


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
        lists = _list("newest items", user["history"]) + _list(facts.arms[0].name, user["before"])
        lists += _list(facts.arms[-1].name, user["after"], without=user["before"]) if two else ""
        blocks.append(f'<h3>{escape(user["user"])}</h3><div class="users">{lists}</div>')
    note = f'<p class="none">Bold: not in the list of “{escape(facts.arms[0].name)}”.</p>' if two and blocks else ""
    return _card("Five users", "".join(blocks) + note or '<p class="none">No user has three events.</p>', wide=True)


def _list(name: str, items: Sequence[str], without: Sequence[str] | None = None) -> str:
    """Return a titled list; items that are not in `without` are bold."""
    new = set(items) - set(items if without is None else without)
    rows = (f"<li>{f'<b>{escape(item)}</b>' if item in new else escape(item)}</li>" for item in items)
    return f"<div><b>{escape(name)}</b><ol>{''.join(rows)}</ol></div>"


def _steps(facts: Facts) -> str:
    rows = [
        [arm.name, step, f"{seconds:.1f}", "–" if peak is None else f"{peak:,.0f}"]
        for arm in facts.arms
        for step, (seconds, peak) in arm.steps.items()
    ]
    return _card(
        "Steps", _table(("student", "step", "seconds", "peak memory, MiB"), rows, numbers=2, label="Steps"), wide=True
    )


def _table(
    header: Sequence[str], rows: Sequence[Sequence[str]], numbers: int | None = None, label: str = "Results"
) -> str:
    """Return a table whose last `numbers` columns are aligned as numbers; unset: all but the first."""
    first = len(header) - numbers if numbers is not None else 1
    kinds = ["" if place < first else ' class="n"' for place in range(len(header))]
    head = "".join(f"<th{kind}>{escape(name)}</th>" for kind, name in zip(kinds, header, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{escape(cell)}</td>" for kind, cell in zip(kinds, row, strict=True)) + "</tr>"
        for row in rows
    )
    return _scrolled(f"<table><tr>{head}</tr>{body}</table>", label)


def _scrolled(body: str, label: str) -> str:
    """Return a part that scrolls on a narrow window, by keys too."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">{body}</div>'
