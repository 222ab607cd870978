"""The `retort refresh` command group, part one: start and schedule refreshes of profiles."""

import logging
import signal
import threading
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from retort.offline.cli._options import NO_RECIPE, DataDir, OutDir, Overrides, RecipeName
from retort.shared.base.errors import DataError, RetortError, StoreError
from retort.shared.base.ids import canonical_id

refresh_app = typer.Typer(help="Generate or renew the profiles of very many users.", no_args_is_help=True)
Tokens = Annotated[int | None, typer.Option("--budget-tokens", help="stop when so many tokens are used")]
Money = Annotated[float | None, typer.Option("--budget-usd", help="stop when so much is spent; requires prices")]
Budget = tuple[int | None, float | None]
_Policy = Annotated[str, typer.Option(help="all, schedule, events, drift or budgeted")]
_OfItems = Annotated[bool, typer.Option("--items", help="of items without a text, by the section knowledge; no users")]
_Rule = Annotated[list[str] | None, typer.Option(help="a key of the policy: min_new_events=10")]
_logger = logging.getLogger(__name__)


@refresh_app.command("start")
def start_command(
    recipe: RecipeName,
    data: DataDir = None,
    out: Annotated[Path, typer.Option("--out", help="run directory; workers need it at the same path")] = Path("runs"),
    overrides: Overrides = None,
    policy: _Policy = "all",
    rule: _Rule = None,
    users: Annotated[Path | None, typer.Option(help="a file with one user_id a line; none: all users")] = None,
    items: _OfItems = False,
    budget_tokens: Tokens = None,
    budget_usd: Money = None,
) -> None:
    """Create a refresh and wake the workers; prints its id."""
    budget = (budget_tokens, budget_usd)
    if items:
        typer.echo(start_items_from_recipe(recipe, data, out, overrides or [], budget))
        return
    typer.echo(start_from_recipe(recipe, data, out, overrides or [], policy, rule or [], users, budget))


def start_items_from_recipe(
    reference: str, data: Path | None, out: Path, overrides: list[str], budget: Budget = (None, None)
) -> str:
    """Read the recipe's data (or reuse it), select new and changed items, write the job, wake the workers.

    Returns:
        The job's id.
    """
    from retort.offline.common.database import migrate_and_open
    from retort.offline.refresh.spec import RefreshSpec, open_item_refresh
    from retort.offline.refresh.start import start_item_refresh
    from retort.shared.base.settings import Settings

    spec = RefreshSpec.of(reference, data, out, overrides, "all", [], items=True)
    engine = migrate_and_open(Settings())
    with open_item_refresh(engine, spec) as (pipeline, name, items, knowledge):
        settings = pipeline.context.language_model
        job_id = start_item_refresh(engine, name, items, knowledge, out, settings, spec.origin, budget)
    _wake_workers()
    return job_id


def _wake_workers() -> None:
    """Wake the workers through Redis, if there is one."""
    from retort.offline.jobs.celery_app import make_app
    from retort.offline.local.local_redis import running_redis
    from retort.offline.refresh.messages import wake_workers
    from retort.shared.base.settings import Settings

    settings = Settings()
    redis_url = settings.redis_url or running_redis(settings.retort_home)
    if redis_url is not None:
        wake_workers(make_app(redis_url))


def start_from_recipe(
    reference: str,
    data: Path | None,
    out: Path,
    overrides: list[str],
    policy: str,
    rules: list[str],
    users: Path | None,
    budget: Budget = (None, None),
) -> str:
    """Read the recipe's data (or reuse it), select users, write the job to the database, wake the workers.

    Returns:
        The job's id.
    """
    from retort.offline.common.database import migrate_and_open
    from retort.offline.refresh.spec import RefreshSpec, open_refresh
    from retort.offline.refresh.start import start_refresh
    from retort.shared.base.settings import Settings

    spec, settings = RefreshSpec.of(reference, data, out, overrides, policy, rules, _read_user_ids(users)), Settings()
    engine = migrate_and_open(settings)
    with open_refresh(engine, spec, budget) as (pipeline, refresh):
        job_id = start_refresh(engine, refresh, out, pipeline.context.language_model, spec.origin)
    _wake_workers()
    return job_id


def _read_user_ids(users: Path | None) -> frozenset[str] | None:
    if users is None:
        return None
    if not users.is_file():
        raise DataError(f"there is no file {users}; give one with a user_id a line.")
    try:
        text = users.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        row = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{users}, row {row}, is not UTF-8 text; save it as UTF-8, one user_id a line.") from error
    found = frozenset(canonical_id(line.strip()) for line in text.splitlines() if line.strip())
    if not found:
        raise DataError(f"{users} names no user; write one user_id a line.")
    return found


@refresh_app.command("schedule")
def schedule_command(
    recipe: Annotated[str, typer.Argument(help="a shipped recipe's name, a .toml file, or `none`")],
    every_hours: Annotated[float, typer.Option(help="hours between two refreshes")] = 24.0,
    data: DataDir = None,
    out: OutDir = Path("runs"),
    overrides: Overrides = None,
    policy: _Policy = "events",
    rule: _Rule = None,
    items: _OfItems = False,
) -> None:
    """Run Celery beat for refreshes; a worker of the queue gpu-llm starts each of them."""
    from retort.offline.jobs.celery_app import make_app
    from retort.offline.local.local_redis import running_redis
    from retort.offline.recipes.recipe import load_recipe
    from retort.offline.refresh.messages import schedule_refreshes
    from retort.offline.refresh.spec import RefreshSpec
    from retort.shared.base.settings import Settings

    if recipe == NO_RECIPE:
        _idle()
        return
    load_recipe(recipe, overrides or [])
    spec = RefreshSpec.of(recipe, data, out, overrides or [], policy, rule or [], items=items)
    settings = Settings()
    redis_url = settings.redis_url or running_redis(settings.retort_home)
    if redis_url is None:
        raise StoreError("beat sends through Redis: set REDIS_URL, or let cron run `retort refresh start` instead.")
    app = make_app(redis_url)
    schedule_refreshes(app, every_hours * 3600, {**spec.origin, "policy": policy, "rules": rule or []})
    settings.retort_home.mkdir(parents=True, exist_ok=True)
    schedule = settings.retort_home / ("beat-refresh-items" if items else "beat-refresh")
    app.Beat(schedule=str(schedule), loglevel=settings.log_level).run()


def _idle() -> None:
    """Wait for SIGTERM or Ctrl-C: a container that exits would be restarted."""
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    Console(stderr=True).print("no recipe is given, so no refresh is scheduled", highlight=False)
    stopped.wait()


def start_by_beat(message: dict[str, Any]) -> None:
    """Start the refresh that Celery beat sent. An unfinished earlier one, or nothing to do, is no failure."""
    data = None if message["data"] is None else Path(message["data"])
    arguments = (message["overrides"], message["policy"], message["rules"])
    try:
        if message.get("items"):
            start_items_from_recipe(message["recipe"], data, Path(message["out"]), message["overrides"])
            return
        start_from_recipe(message["recipe"], data, Path(message["out"]), *arguments, None)
    except RetortError as error:
        # a scheduled start that fails must not end the worker: the next one may succeed
        _logger.warning("no refresh of %s was started: %s", message["recipe"], error)
