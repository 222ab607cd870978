"""The commands `run`, `submit` and `status`: a recipe from raw data to sealed bundle, in this process or by workers."""

import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from retort.offline.cli._options import AsJson, DataDir, OutDir, Overrides, RecipeName
from retort.offline.common.progress import describe_progress, seconds_left
from retort.offline.common.terminal import TerminalProgress, format_value, print_json, show_rows
from retort.shared.base.errors import RecipeError, StoreError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from retort.offline.jobs.runs import RunStatus
    from retort.offline.pipeline.outcome import Outcome
    from retort.offline.recipes.recipe import Recipe
    from retort.shared.model.paired_test import Comparison

_METRICS = ("hr@10", "ndcg@10")
_POLL_S = 1.0
_STEP_FORMATS: dict[str, Callable[[Any], str]] = {"seconds": lambda value: "–" if value is None else f"{value:.1f}"}


def run(
    recipe: RecipeName,
    data: DataDir = None,
    out: OutDir = Path("runs"),
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="the last line is one JSON object")] = False,
    plain: Annotated[bool, typer.Option(help="run the same recipe without its teacher too, and compare")] = True,
) -> None:
    """Run a whole recipe in this process: raw data to sealed bundle."""
    import orjson

    from retort.offline.common.database import migrate_and_open
    from retort.offline.pipeline.build import make_pipeline
    from retort.offline.pipeline.context import make_context
    from retort.offline.pipeline.outcome import complete_steps, run_pipeline
    from retort.offline.pipeline.preflight import check_needs
    from retort.offline.recipes.recipe import load_recipe
    from retort.offline.run_report.page import write_report
    from retort.shared.base.settings import Settings

    started = time.perf_counter()
    loaded = load_recipe(recipe, overrides or [])
    engine = migrate_and_open(Settings())
    arms = [loaded] if loaded.is_plain or not plain else [loaded.plain(), loaded]
    with TerminalProgress() as progress:
        outcomes = []
        pipelines = [make_pipeline(make_context(arm, data, engine, progress), out) for arm in arms]
        check_needs(pipelines)
        complete_steps(pipelines)
        for arm, pipeline in zip(arms, pipelines, strict=True):
            progress.say(f"── {arm.name}, protocol {arm.protocol}")
            outcomes.append(run_pipeline(pipeline))
    _show_outcomes(arms, outcomes)
    command = shlex.join(["retort", "run", *_where(recipe, data, out), *(f"--set={one}" for one in overrides or [])])
    kinds = ["plain" if arm.is_plain else "distilled" for arm in arms]
    report = write_report(dict(zip(kinds, pipelines, strict=True)), command, out)
    last = outcomes[-1]
    if as_json:
        summary = {
            "bundle": str(last.bundle.absolute()),
            "report": str(report.absolute()),
            "test": last.test,
            "validation": last.validation,
            "seconds": round(time.perf_counter() - started, 1),
        }
        print(orjson.dumps(summary).decode())
    else:
        print(last.bundle)
        _show_next(last.bundle, recipe, data, out)
        Console(stderr=True).print(f"  report: {report}", markup=False, highlight=False, soft_wrap=True)


def _where(recipe: str, data: Path | None, out: Path) -> list[str]:
    """Return the arguments that name a run."""
    return [recipe, *(["--data", str(data)] if data else []), "--out", str(out)]


def report(
    recipe: Annotated[str | None, typer.Argument(help="name of a recipe; none: the newest report")] = None,
    out: OutDir = Path("runs"),
    show: Annotated[bool, typer.Option("--open/--no-open", help="open it in a browser")] = True,
) -> None:
    """Open the report that `retort run`, `quickstart` or `demo` wrote."""
    import webbrowser

    from retort.offline.run_report.page import REPORTS

    written = sorted((out / REPORTS).glob("*.html"), key=lambda path: path.stat().st_mtime)
    found = [path for path in written if recipe is None or path.stem == Path(recipe).stem]
    if not found:
        known = ", ".join(path.stem for path in written) or "none"
        raise RecipeError(f"{out} has no report of {recipe or 'a run'} (there: {known}); `retort run` writes one.")
    if show:
        webbrowser.open(found[-1].absolute().as_uri())
    typer.echo(found[-1])


def submit(recipe: RecipeName, data: DataDir = None, out: OutDir = Path("runs"), overrides: Overrides = None) -> None:
    """Submit a whole recipe to Celery workers; `retort status` shows its progress."""
    from retort.offline.common.database import migrate_and_open
    from retort.shared.base.settings import Settings

    typer.echo(submit_to(migrate_and_open(Settings()), worker_redis(), recipe, data, out, overrides or []))


def status(
    run_id: Annotated[str | None, typer.Argument(help="one run; none: the latest")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="until it ends")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the progress of submitted recipes."""
    from retort.offline.common.database import migrate_and_open
    from retort.offline.jobs import runs
    from retort.shared.base.settings import Settings

    engine = migrate_and_open(Settings())
    console = Console()
    if run_id is None and not watch:
        empty = "There is no submitted run; `retort submit RECIPE` starts one."
        show_rows(_run_rows(runs.read_runs(engine)), as_json=as_json, empty=empty, formats={"run": lambda run: run[:8]})
        return
    if run_id is None:
        latest = runs.read_runs(engine, limit=1)
        if not latest:
            raise RecipeError("there is no submitted run; `retort submit RECIPE` starts one.")
        run_id = latest[0].id
    found = runs.read_run(engine, run_id)
    if watch:
        found = _watch(engine, found, console, as_json=as_json)
    if as_json:
        print_json({**_run_rows([found])[0], "bundle": found.bundle, "steps": _step_rows(found)})
    elif not (watch and console.is_terminal):
        show_rows(_step_rows(found), _run_title(found), formats=_STEP_FORMATS)
    if found.error:
        raise RecipeError(f"run {found.id[:8]} failed in {found.error}")
    if found.bundle and not as_json:
        console.print(found.bundle, markup=False, highlight=False, soft_wrap=True)


def _watch(engine: "Engine", run: "RunStatus", console: Console, *, as_json: bool) -> "RunStatus":
    """Wait until the run ends; returns its last state. Only a terminal shows the states between."""
    from retort.offline.jobs import runs

    if as_json or not console.is_terminal:
        return wait_until_ended(engine, run.id)
    with Live(_steps_table(run), console=console, auto_refresh=False) as live:
        while run.ended_at is None:
            time.sleep(_POLL_S)
            run = runs.read_run(engine, run.id)
            live.update(_steps_table(run), refresh=True)
    return run


def wait_until_ended(engine: "Engine", run_id: str) -> "RunStatus":
    """Wait until workers have ended a run; returns its last state."""
    from retort.offline.jobs import runs

    while (run := runs.read_run(engine, run_id)).ended_at is None:
        time.sleep(_POLL_S)
    return run


def worker_redis() -> str:
    """URL of the workers' Redis: the given one, or that of a worker on this machine."""
    from retort.offline.local.local_redis import running_redis
    from retort.shared.base.settings import Settings

    settings = Settings()
    redis_url = settings.redis_url or running_redis(settings.retort_home)
    if redis_url is None:
        raise StoreError("no worker can be reached: set REDIS_URL, or start `retort worker` before you submit.")
    return redis_url


def submit_to(
    engine: "Engine", redis_url: str, reference: str, data: Path | None, out: Path, overrides: list[str]
) -> str:
    """Write a run to the database and send its first step to Celery; returns the run's id."""
    from retort.offline.jobs import runs
    from retort.offline.jobs.celery_app import make_app
    from retort.offline.jobs.tasks import send_step
    from retort.offline.pipeline.build import make_steps
    from retort.offline.recipes.recipe import load_recipe
    from retort.shared.base.settings import LanguageModelSettings

    recipe = load_recipe(reference, overrides)
    steps = make_steps(recipe, data.absolute() if data else None, LanguageModelSettings(), publish=True)
    # the column is never null: without a data directory it holds the run directory
    run_id = runs.create_run(engine, recipe.name, recipe.raw, data or out, out, steps)
    send_step(make_app(redis_url), run_id, steps[0].name, steps[0].queue)
    return run_id


def _show_outcomes(arms: list["Recipe"], outcomes: list["Outcome"]) -> None:
    """Print a table of baselines, plain and distilled student, for all users and for the subsets, and a comparison."""
    import polars as pl

    first = outcomes[0]
    kinds = ["plain" if arm.is_plain else "distilled" for arm in arms]
    n_cases = pl.read_parquet(first.per_user).height
    rows = [_outcome_row("all", n_cases, baseline, metrics) for baseline, metrics in first.baselines.items()]
    rows += [_outcome_row("all", n_cases, kind, outcome.test) for kind, outcome in zip(kinds, outcomes, strict=True)]
    for name in (name for name in first.slices if name.startswith("subset ")):
        for kind, outcome in zip(kinds, outcomes, strict=True):
            metrics = outcome.slices[name]
            rows.append(_outcome_row(name.removeprefix("subset "), int(metrics["cases"]), kind, metrics))
    show_rows(rows, f"test, protocol {arms[0].protocol}, full ranking", stderr=True)
    if len(outcomes) == 2:
        for metric in _METRICS:
            sentence = _compare(outcomes[0], outcomes[1], metric).sentence()
            Console(stderr=True).print(sentence, markup=False, highlight=False)


def _outcome_row(users: str, n_cases: int, student: str, metrics: dict[str, float]) -> dict[str, object]:
    values = {metric: metrics.get(metric) for metric in _METRICS}
    return {"users": users, "cases": n_cases, "student": student, **values}


def _show_next(bundle: Path, recipe: str, data: Path | None, out: Path) -> None:
    """Print the commands that serve the bundle, on standard error: standard output holds the bundle alone."""
    where = shlex.join(_where(recipe, data, out))
    for line in (
        "Next:",
        f"  retort serve --bundle {shlex.quote(str(bundle))}   # serve this bundle",
        f"  retort publish {shlex.quote(str(bundle))} --alias champion   # or publish it for running servers",
        f"  retort history load {where}   # histories for Redis",
    ):
        Console(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)


def _compare(plain: "Outcome", distilled: "Outcome", metric: str) -> "Comparison":
    import polars as pl

    from retort.offline.evaluation.compare import compare

    return compare([pl.read_parquet(plain.per_user)], [pl.read_parquet(distilled.per_user)], metric, resamples=2000)


def _run_rows(runs: list["RunStatus"]) -> list[dict[str, object]]:
    return [
        {
            "run": run.id,
            "recipe": run.recipe_name,
            "status": run.status,
            "steps": f"{sum(step.status == 'done' for step in run.steps)} of {len(run.steps)}",
            "submitted": run.created_at,
            "error": run.error,
        }
        for run in runs
    ]


def _step_rows(run: "RunStatus") -> list[dict[str, object]]:
    from retort.shared.db.models import now

    rows: list[dict[str, object]] = []
    for step in run.steps:
        seconds = ((step.ended_at or now()) - step.started_at).total_seconds() if step.started_at else None
        left = None if step.ended_at or seconds is None else seconds_left(step.done, step.total, seconds)
        progress = describe_progress(step.what, step.done, step.total, left) if step.what else None
        rows.append({"step": step.name, "status": step.status, "progress": progress, "seconds": seconds})
    return rows


def _steps_table(run: "RunStatus") -> Table:
    """The steps as a table that is redrawn in place."""
    table = Table("step", "status", "progress", "seconds", title=_run_title(run))
    for row in _step_rows(run):
        table.add_row(*(_STEP_FORMATS.get(key, format_value)(value) for key, value in row.items()))
    return table


def _run_title(run: "RunStatus") -> str:
    return f"{run.recipe_name} {run.id[:8]}: {run.status}"
