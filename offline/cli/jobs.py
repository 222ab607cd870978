"""`retort submit`, `status`: the line by Celery, with the truth in the database."""

import time
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table
from sqlalchemy import Engine

from retort.offline.common.database import migrate_and_open
from retort.offline.jobs import runs
from retort.offline.jobs.celery_app import make_app
from retort.offline.jobs.runs import RunStatus
from retort.offline.jobs.tasks import send_step
from retort.offline.local.local_redis import running_redis
from retort.offline.pipeline.build import make_steps
from retort.offline.recipes.recipe import load_recipe
from retort.shared.base.errors import RecipeError, StoreError
from retort.shared.base.settings import LanguageModelSettings, Settings
from retort.shared.db.models import now

_LOOK_EVERY_S = 1.0


def submit_recipe(reference: str, data: Path | None, out: Path, overrides: list[str]) -> str:
    """Write a run down and send for its first step; the run's id."""
    return submit_to(migrate_and_open(Settings()), worker_redis(), reference, data, out, overrides)


def worker_redis() -> str:
    """The Redis that workers listen to: the given one, or that of a worker on this machine."""
    settings = Settings()
    redis_url = settings.redis_url or running_redis(settings.retort_home)
    if redis_url is None:
        raise StoreError("no worker can be reached: set REDIS_URL, or start `retort worker` first and submit then.")
    return redis_url


def submit_to(
    engine: Engine, redis_url: str, reference: str, data: Path | None, out: Path, overrides: list[str]
) -> str:
    """The same, to a known database and Redis."""
    recipe = load_recipe(reference, overrides)
    steps = make_steps(recipe, data.absolute() if data else None, LanguageModelSettings(), publish=True)
    # a database column is never null: no data directory is written as the run directory itself
    run_id = runs.create_run(engine, recipe.name, recipe.raw, data or out, out, steps)
    send_step(make_app(redis_url), run_id, steps[0].name, steps[0].queue)
    return run_id


def show_status(run_id: str | None, *, watch: bool) -> None:
    """Print one run's steps, or the latest runs; `watch` until the run has ended."""
    engine = migrate_and_open(Settings())
    console = Console()
    if run_id is None and not watch:
        console.print(_runs_table(runs.read_runs(engine)))
        return
    if run_id is None:
        latest = runs.read_runs(engine, limit=1)
        if not latest:
            raise RecipeError("nothing was submitted yet; `retort submit RECIPE` does it.")
        run_id = latest[0].id
    run = runs.read_run(engine, run_id)
    with Live(_steps_table(run), console=console, auto_refresh=False) as live:
        while watch and run.ended_at is None:
            time.sleep(_LOOK_EVERY_S)
            run = runs.read_run(engine, run_id)
            live.update(_steps_table(run), refresh=True)
    if run.error:
        raise RecipeError(f"run {run.id[:8]} failed in {run.error}")
    if run.bundle:
        console.print(run.bundle, markup=False, highlight=False, soft_wrap=True)


def _runs_table(runs: list[RunStatus]) -> Table:
    table = Table("run", "recipe", "status", "steps", "submitted", "error")
    for run in runs:
        done = sum(step.status == "done" for step in run.steps)
        submitted = run.created_at.strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(run.id[:8], run.recipe_name, run.status, f"{done}/{len(run.steps)}", submitted, run.error or "")
    return table


def _steps_table(run: RunStatus) -> Table:
    table = Table("step", "status", "progress", "seconds", title=f"{run.recipe_name} {run.id[:8]}: {run.status}")
    for step in run.steps:
        progress = f"{step.what} {step.done}/{step.total or '?'}" if step.what else ""
        seconds = ""
        if step.started_at:
            seconds = f"{((step.ended_at or now()) - step.started_at).total_seconds():.1f}"
        table.add_row(step.name, step.status, progress, seconds)
    return table
