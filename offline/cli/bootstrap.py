"""The `retort bootstrap` command: workers make the first bundle of an empty system; later calls do nothing."""

import time
from pathlib import Path

from sqlalchemy import Engine

from retort.offline.cli._options import NO_RECIPE
from retort.offline.cli.data import load_frame
from retort.offline.cli.run import submit_to
from retort.offline.common.database import migrate_and_open
from retort.offline.common.progress import Silent
from retort.offline.data.tables import load_saved
from retort.offline.jobs import runs
from retort.offline.jobs.runs import RunStatus
from retort.offline.pipeline.build import make_pipeline
from retort.offline.pipeline.context import make_context
from retort.offline.recipes.recipe import parse_recipe
from retort.shared.base.errors import RetortError, StoreError
from retort.shared.base.settings import Settings
from retort.shared.db.models import DONE, FAILED
from retort.shared.model import registry
from retort.shared.model.registry import CHAMPION

_POLL_S = 1.0
# The step whose output holds the users' events.
_DATA = "data"


def bootstrap(reference: str, data: Path | None, out: Path) -> str:
    """Submit a recipe, wait until its bundle is published, and load its histories into Redis.

    Does nothing if a bundle serves already, or if the reference is `none`.

    Returns:
        A summary sentence.
    """
    if reference == NO_RECIPE:
        return "no recipe is given, so no first bundle is made; publish one with `retort publish`."
    settings = Settings()
    if settings.redis_url is None or settings.histories_url is None:
        raise StoreError("the first bundle is made by workers: set REDIS_URL (and HISTORIES_REDIS_URL) to theirs.")
    engine = migrate_and_open(settings)
    champion = registry.aliases(engine).get(CHAMPION)
    if champion is not None:
        return f"{champion} serves already; there is nothing to do."
    run_id = _unfinished(engine, out) or submit_to(engine, settings.redis_url, reference, data, out, [])
    print(f"run {run_id[:8]} of {reference} is submitted; waiting for a worker", flush=True)
    reported: set[str] = set()
    _wait(engine, run_id, _DATA, reported)
    users = _load_histories(engine, run_id, settings)
    print(f"{users} histories are in Redis", flush=True)
    run = _wait(engine, run_id, None, reported)
    return f"{run.recipe_name} is published: {registry.resolve(engine, CHAMPION).bundle_id} serves."


def _unfinished(engine: Engine, out: Path) -> str | None:
    """Id of an unfinished run into the same directory, which an earlier bootstrap submitted; None if there is none."""
    for run in runs.read_runs(engine):
        if run.out_dir == out.absolute() and run.ended_at is None:
            return run.id
    return None


def _wait(engine: Engine, run_id: str, step: str | None, reported: set[str]) -> RunStatus:
    """Wait until the step, or with None the whole run, is done, and print finished steps that are not yet `reported`.

    Raises:
        RetortError: The run failed.
    """
    while True:
        run = runs.read_run(engine, run_id)
        for finished in run.steps:
            if finished.status == DONE and finished.name not in reported:
                reported.add(finished.name)
                print(f"  {finished.name} is done", flush=True)
        if run.status == FAILED:
            raise RetortError(f"the first run failed in {run.error} Read the worker's log.")
        if run.status == DONE or (step is not None and run.step(step).status == DONE):
            return run
        time.sleep(_POLL_S)


def _load_histories(engine: Engine, run_id: str, settings: Settings) -> int:
    """Write the run's histories into Redis; idempotent. Returns the number of users."""
    run = runs.read_run(engine, run_id)
    data = None if run.data_dir == run.out_dir else run.data_dir
    context = make_context(parse_recipe(run.recipe_name, run.recipe), data, engine, Silent())
    frame = load_saved(make_pipeline(context, run.out_dir).ensure_path(_DATA)).interactions.frame
    assert settings.histories_url is not None
    return load_frame(settings.histories_url, frame, settings)
