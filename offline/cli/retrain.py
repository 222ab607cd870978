"""The `retort retrain` command: events, training, gate and promotion, once or on a schedule."""

import re
import shlex
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from retort.offline.cli._options import DataDir, OutDir, RecipeName
from retort.shared.base.errors import RecipeError, RetortError, StoreError

_UNITS = {"m": 60, "h": 3600, "d": 86_400}
_MOST_S = 366 * 86_400
REFUSED = 1  # exit status where the gate keeps the champion


@dataclass(frozen=True)
class Round:
    """Result of one retraining. promoted: False if the gate kept the champion."""

    bundle_id: str
    promoted: bool
    sentence: str


def retrain(
    recipe: RecipeName,
    data: DataDir = None,
    out: OutDir = Path("runs"),
    every: Annotated[str | None, typer.Option(help="repeat after this time, such as 24h or 7d; unset: once")] = None,
    alias: Annotated[str, typer.Option(help="alias to move if the gate passes")] = "champion",
    submit: Annotated[
        bool, typer.Option("--submit", help="train by Celery workers instead of in this process")
    ] = False,
    cron: Annotated[bool, typer.Option("--cron", help="print a crontab line and end")] = False,
) -> None:
    """Export events, train, compare with the champion on the new test, and promote if the gate passes.

    Exit status 1: the gate kept the champion. With --every a failed round is reported, and the next one follows.
    """
    if cron:
        typer.echo(cron_line(recipe, data, out, every or "24h", alias))
        return
    if every is None:
        finished = run_round(recipe, data, out, alias, submit=submit)
        typer.echo(finished.sentence)
        if not finished.promoted:
            raise typer.Exit(REFUSED)
        return
    _repeat(recipe, data, out, alias, seconds(every), submit=submit)


def seconds(text: str) -> float:
    """Parse a time such as 30m, 24h or 7d.

    Raises:
        RecipeError: It is none.
    """
    found = re.fullmatch(r"(\d{1,6})([mhd])", text.strip(), re.ASCII)
    if not found or not 1 <= int(found[1]) * _UNITS[found[2]] <= _MOST_S:
        raise RecipeError(f"--every {text!r} is no time; write one such as 30m, 24h or 7d, a year at most.")
    return float(int(found[1]) * _UNITS[found[2]])


def cron_line(recipe: str, data: Path | None, out: Path, every: str, alias: str) -> str:
    """Return a crontab line for the same retraining, in this directory and with this Python."""
    period = seconds(every)
    hours, days = int(period // 3600), int(period // 86_400)
    if period >= 86_400 and period % 86_400 == 0 and days <= 28:
        when = "0 3 * * *" if days == 1 else f"0 3 */{days} * *"
    elif period % 3600 == 0 and hours in (1, 2, 3, 4, 6, 8, 12):
        when = f"0 */{hours} * * *"
    else:
        raise RecipeError(f"cron has no line for {every!r}; use whole days, or 1, 2, 3, 4, 6, 8 or 12 hours.")
    where = ["--data", str(data.absolute())] if data else []
    command = [sys.executable, "-m", "retort.offline.cli", "retrain", recipe, *where, "--out", str(out.absolute())]
    line = shlex.join([*command, "--alias", alias]).replace("%", "\\%")
    return f"{when} cd {shlex.quote(str(Path.cwd()))} && {line}"


def _repeat(recipe: str, data: Path | None, out: Path, alias: str, every_s: float, *, submit: bool) -> None:
    """Run rounds until SIGTERM or Ctrl-C; a round that takes longer than the interval is followed at once."""
    waiting = threading.Event()
    while True:
        started = time.monotonic()
        try:
            typer.echo(run_round(recipe, data, out, alias, submit=submit).sentence)
        except (RetortError, OSError) as error:
            typer.echo(f"this round failed: {error}", err=True)
        waiting.wait(max(0.0, every_s - (time.monotonic() - started)))


def run_round(recipe: str, data: Path | None, out: Path, alias: str, *, submit: bool) -> Round:
    """Run one retraining.

    Raises:
        RetortError: A step failed; the champion is unchanged.
    """
    from retort.offline.recipes.recipe import load_recipe

    if load_recipe(recipe).data.source == "events":
        _collect_events(data)
    bundle_id, split = (_train_by_workers if submit else _train_here)(recipe, data, out)
    return _promote(bundle_id, split, alias)


def _collect_events(data: Path | None) -> None:
    """Move events from Redis to the database, and export them to the data directory."""
    from retort.offline.cli.events import drain_events, export_events

    if data is None:
        raise RecipeError('[data] source = "events" is exported to a directory; name it with --data DIR.')
    try:
        drain_events(None)
    except StoreError as error:  # another process may drain, and what it has drained is in the database
        typer.echo(f"the event stream is not drained: {error}", err=True)
    typer.echo(export_events(data), err=True)


def _train_here(recipe: str, data: Path | None, out: Path) -> tuple[str, Path]:
    """Train and publish in this process; returns the bundle's id and the split of its test."""
    from retort.offline.common.database import migrate_and_open
    from retort.offline.common.terminal import TerminalProgress
    from retort.offline.export.publish import publish_to
    from retort.offline.pipeline.build import make_pipeline
    from retort.offline.pipeline.context import evaluated_split_step, make_context
    from retort.offline.pipeline.outcome import complete_steps, run_pipeline
    from retort.offline.recipes.recipe import load_recipe
    from retort.shared.base.settings import Settings

    engine = migrate_and_open(Settings())
    with TerminalProgress() as progress:
        pipeline = make_pipeline(make_context(load_recipe(recipe), data, engine, progress), out)
        complete_steps([pipeline])
        outcome = run_pipeline(pipeline)
    published = publish_to(engine, outcome.bundle, Settings().bundles_dir)
    return published.bundle_id, pipeline.ensure_path(evaluated_split_step(pipeline))


def _train_by_workers(recipe: str, data: Path | None, out: Path) -> tuple[str, Path]:
    """Submit the recipe, wait for the workers, and read what they left."""
    from retort.offline.cli.run import submit_to, wait_until_ended, worker_redis
    from retort.offline.common.database import migrate_and_open
    from retort.offline.common.progress import Silent
    from retort.offline.pipeline.build import make_pipeline
    from retort.offline.pipeline.context import evaluated_split_step, make_context
    from retort.offline.recipes.recipe import parse_recipe
    from retort.shared.base.settings import Settings
    from retort.shared.db.models import FAILED
    from retort.shared.model.manifest import read_manifest

    engine = migrate_and_open(Settings())
    run_id = submit_to(engine, worker_redis(), recipe, data, out, [])
    run = wait_until_ended(engine, run_id)
    if run.status == FAILED:
        raise RetortError(f"run {run_id[:8]} failed in {run.error} Read the worker's log.")
    context = make_context(parse_recipe(run.recipe_name, run.recipe), data, engine, Silent())
    pipeline = make_pipeline(context, run.out_dir)
    return read_manifest(Path(str(run.bundle))).bundle_id, pipeline.ensure_path(evaluated_split_step(pipeline))


def _promote(bundle_id: str, split: Path, alias: str) -> Round:
    """Promote the bundle if the gate passes on the new test; otherwise the champion stays."""
    from retort.offline.cli.bundles import promote_bundle
    from retort.offline.common.database import migrate_and_open
    from retort.shared.base.settings import Settings
    from retort.shared.model import registry

    if registry.aliases(migrate_and_open(Settings())).get(alias) == bundle_id:
        return Round(bundle_id, True, f"{bundle_id} is {alias}.")
    try:
        return Round(bundle_id, True, promote_bundle(bundle_id, alias, cases=split, because="retort retrain"))
    except registry.RegistryError as error:
        return Round(bundle_id, False, str(error))
