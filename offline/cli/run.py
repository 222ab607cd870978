"""The commands `run`, `submit` and `status`: a recipe from raw data to sealed bundle, in this process or by workers."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from retort.offline.cli._options import DataDir, OutDir, Overrides, RecipeName
from retort.offline.common.terminal import TerminalProgress
from retort.shared.base.errors import RecipeError, StoreError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from retort.offline.evaluation.compare import Comparison
    from retort.offline.jobs.runs import RunStatus
    from retort.offline.pipeline.outcome import Outcome
    from retort.offline.recipes.recipe import Recipe

_METRICS = ("hr@10", "ndcg@10")
_POLL_S = 1.0


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
    from retort.offline.pipeline.outcome import run_pipeline
    from retort.offline.recipes.recipe import load_recipe
    from retort.shared.base.settings import Settings

    started = time.perf_counter()
    loaded = load_recipe(recipe, overrides or [])
    engine = migrate_and_open(Settings())
    arms = [loaded] if loaded.is_plain or not plain else [loaded.plain(), loaded]
    with TerminalProgress() as progress:
        outcomes = []
        for arm in arms:
            progress.say(f"── {arm.name}, protocol {arm.protocol}")
            outcomes.append(run_pipeline(make_pipeline(make_context(arm, data, engine, progress), out)))
    _show_outcomes(Console(stderr=True), arms, outcomes)
    last = outcomes[-1]
    if as_json:
        summary = {
            "bundle": str(last.bundle.absolute()),
            "test": last.test,
            "validation": last.validation,
            "seconds": round(time.perf_counter() - started, 1),
        }
        print(orjson.dumps(summary).decode())
    else:
        print(last.bundle)


def submit(recipe: RecipeName, data: DataDir = None, out: OutDir = Path("runs"), overrides: Overrides = None) -> None:
    """Submit a whole recipe to Celery workers; `retort status` shows its progress."""
    from retort.offline.common.database import migrate_and_open
    from retort.shared.base.settings import Settings

    typer.echo(submit_to(migrate_and_open(Settings()), worker_redis(), recipe, data, out, overrides or []))


def status(
    run_id: Annotated[str | None, typer.Argument(help="one run; none: the latest")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="until it ends")] = False,
) -> None:
    """Show the progress of submitted recipes."""
    from retort.offline.common.database import migrate_and_open
    from retort.offline.jobs import runs
    from retort.shared.base.settings import Settings

    engine = migrate_and_open(Settings())
    console = Console()
    if run_id is None and not watch:
        console.print(_runs_table(runs.read_runs(engine)))
        return
    if run_id is None:
        latest = runs.read_runs(engine, limit=1)
        if not latest:
            raise RecipeError("there is no submitted run; `retort submit RECIPE` starts one.")
        run_id = latest[0].id
    found = runs.read_run(engine, run_id)
    with Live(_steps_table(found), console=console, auto_refresh=False) as live:
        while watch and found.ended_at is None:
            time.sleep(_POLL_S)
            found = runs.read_run(engine, run_id)
            live.update(_steps_table(found), refresh=True)
    if found.error:
        raise RecipeError(f"run {found.id[:8]} failed in {found.error}")
    if found.bundle:
        console.print(found.bundle, markup=False, highlight=False, soft_wrap=True)


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


def _show_outcomes(console: Console, arms: list["Recipe"], outcomes: list["Outcome"]) -> None:
    """Print a table of baselines, plain and distilled student, for all users and for the subsets, and a comparison."""
    import polars as pl

    table = Table(title=f"test, protocol {arms[0].protocol}, full ranking")
    for column in ("users", "cases", "student", *_METRICS):
        table.add_column(column, justify="left" if column in ("users", "student") else "right")
    first = outcomes[0]
    cases = str(pl.read_parquet(first.per_user).height)
    for baseline, metrics in first.baselines.items():
        table.add_row("all", cases, baseline, *_cells(metrics))
    for arm, outcome in zip(arms, outcomes, strict=True):
        table.add_row("all", cases, "plain" if arm.is_plain else "distilled", *_cells(outcome.test))
    for name in (name for name in first.slices if name.startswith("subset ")):
        for arm, outcome in zip(arms, outcomes, strict=True):
            metrics = outcome.slices[name]
            kind = "plain" if arm.is_plain else "distilled"
            table.add_row(name.removeprefix("subset "), f"{metrics['cases']:.0f}", kind, *_cells(metrics))
    console.print(table)
    if len(outcomes) == 2:
        for metric in _METRICS:
            console.print(_compare(outcomes[0], outcomes[1], metric).sentence(), markup=False, highlight=False)


def _compare(plain: "Outcome", distilled: "Outcome", metric: str) -> "Comparison":
    import polars as pl

    from retort.offline.evaluation.compare import compare

    return compare([pl.read_parquet(plain.per_user)], [pl.read_parquet(distilled.per_user)], metric, resamples=2000)


def _cells(metrics: dict[str, float]) -> list[str]:
    return [f"{metrics[column]:.4f}" if column in metrics else "–" for column in _METRICS]


def _runs_table(runs: list["RunStatus"]) -> Table:
    table = Table("run", "recipe", "status", "steps", "submitted", "error")
    for run in runs:
        done = sum(step.status == "done" for step in run.steps)
        submitted = run.created_at.strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(run.id[:8], run.recipe_name, run.status, f"{done}/{len(run.steps)}", submitted, run.error or "")
    return table


def _steps_table(run: "RunStatus") -> Table:
    from retort.shared.db.models import now

    table = Table("step", "status", "progress", "seconds", title=f"{run.recipe_name} {run.id[:8]}: {run.status}")
    for step in run.steps:
        progress = f"{step.what} {step.done}/{step.total or '?'}" if step.what else ""
        seconds = ""
        if step.started_at:
            seconds = f"{((step.ended_at or now()) - step.started_at).total_seconds():.1f}"
        table.add_row(step.name, step.status, progress, seconds)
    return table
