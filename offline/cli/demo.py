"""The `retort demo` command: the whole pipeline on made-up data, with real workers and a real server.

Profiles → vectors → PCA → a plain and a distilled student → ONNX → sealed bundles → published → histories in Redis →
the API recommends, an event is posted, the recommendations change. An A/B test with a shadow and a few made-up visitors
give every page of the console something to show. All files are under RETORT_HOME; a second run reuses them. The demo
publishes without the promotion gate: on the first run there is no champion to compare with, and the demo must show the
bundle that it has just made.
"""

import sys
import time
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from sqlalchemy import Engine

from retort.offline.cli.data import load_frame
from retort.offline.cli.demo_client import DemoClient
from retort.offline.cli.demo_results import compare_students, results_table, show_results
from retort.offline.cli.local_server import local_server, serve_until_interrupted
from retort.offline.common.database import migrate_and_open
from retort.offline.common.progress import Silent, describe_progress, seconds_left
from retort.offline.data.sources import synthetic
from retort.offline.data.sources.synthetic import MADE_UP, write_knowledge
from retort.offline.data.tables import load_saved
from retort.offline.export.publish import publish_to
from retort.offline.jobs import runs
from retort.offline.jobs.celery_app import make_app
from retort.offline.jobs.runs import RunStatus
from retort.offline.jobs.tasks import send_step
from retort.offline.library.server import store_settings
from retort.offline.local.local_redis import redis_service
from retort.offline.local.subprocesses import Child, start_child
from retort.offline.pipeline.build import make_pipeline, make_steps
from retort.offline.pipeline.context import make_context
from retort.offline.profiles.config import backend_name
from retort.offline.recipes.recipe import Recipe, load_recipe
from retort.offline.run_report.page import write_report
from retort.shared.base.errors import RetortError
from retort.shared.base.settings import LanguageModelSettings, Settings
from retort.shared.db.models import DONE, FAILED, RUNNING, now
from retort.shared.model.offline_results import store_table
from retort.shared.model.registry import CHALLENGER, CHAMPION

_RECIPE = "demo"
_POLL_S = 0.2
_VISITORS = 60  # made-up ones of the A/B test


def run_demo(*, leave: bool) -> None:
    """Run the demo.

    Args:
        leave: End after the recommendations; False: serve until Ctrl-C.

    Raises:
        RetortError: A run failed, the API is not ready in time, or its recommendations do not react to an event.
    """
    started = time.perf_counter()
    console, settings = Console(), Settings()
    out = settings.retort_home.absolute() / "demo"
    with ExitStack() as stack:
        redis = stack.enter_context(redis_service(settings.redis_url, settings.retort_home))
        engine = migrate_and_open(settings)
        stack.callback(engine.dispose)
        environment = store_settings(redis.url, settings.database)
        knowledge = _write_knowledge(out)
        recipe = load_recipe(_RECIPE, knowledge)
        _show_components(console, redis.description, engine, recipe)
        arms = {"plain": load_recipe(_RECIPE, ["objectives=[]", *knowledge]), "distilled": recipe}
        with ExitStack() as workers:
            started_workers = [workers.enter_context(_worker(name, environment, out)) for name in arms]
            finished = _train(console, engine, redis.url, arms, out, started_workers)
        bundles = {name: Path(str(run.bundle)) for name, run in finished.items()}
        for arm, alias in (("plain", CHALLENGER), ("distilled", CHAMPION)):
            published = publish_to(engine, bundles[arm], settings.bundles_dir, alias)
            console.print(
                f"published {published.name}@{published.version} as {alias}: {published.uri}", highlight=False
            )
        pipelines = {name: make_pipeline(make_context(arm, None, engine, Silent()), out) for name, arm in arms.items()}
        pipeline = pipelines["distilled"]
        histories = load_saved(pipeline.ensure_path("data")).interactions.frame
        console.print(f"{load_frame(redis.url, histories, settings):,} histories are in Redis", highlight=False)
        url, server = stack.enter_context(local_server(environment | _ab_test(out), out))
        with DemoClient(url) as client:
            client.show_effect_of_event(console, user_id=str(histories["user_id"][0]))
            clicks = client.send_traffic(histories["user_id"].unique(maintain_order=True)[1 : 1 + _VISITORS].to_list())
        console.print(
            f"A/B test: {_VISITORS} made-up visitors were shown a list and clicked {clicks} times by rule, so that the "
            "console has counts; the challenger also answers in the shadow.",
            highlight=False,
        )
        compared = compare_students(bundles)
        show_results(console, bundles, compared)
        store_table(engine, results_table(bundles, compared))
        report = write_report(pipelines, "retort demo", out)
        console.print(f"report: {report}", markup=False, highlight=False, soft_wrap=True)
        console.print(f"The demo took {time.perf_counter() - started:.0f} s.", highlight=False)
        _show_next(console, url, str(histories["user_id"][0]), str(histories["item_id"][0]))
        if not leave:
            serve_until_interrupted(console, server, "the next `retort demo` reuses the finished work.")
    if leave:
        console.print("The server has ended; `retort demo` without --exit keeps it running.", highlight=False)


def _write_knowledge(out: Path) -> list[str]:
    """Write the texts about the made-up items; returns the recipe keys that read them."""
    options = load_recipe(_RECIPE).data.options
    path = out / "knowledge.jsonl"
    write_knowledge(synthetic.Config.model_validate(options), path)
    return ["knowledge.backend=file", f"knowledge.path={path}"]


def _ab_test(out: Path) -> dict[str, str]:
    """Write an A/B test of both students, with the challenger as shadow; returns the variable that names it."""
    path = out / "ab_test.json"
    # the first is the control; the user whose lists are shown falls on the second by hash
    variants = [{"name": "plain", "share": 0.5, "alias": CHALLENGER}, {"name": "distilled", "share": 0.5}]
    path.write_bytes(orjson.dumps({"name": "demo", "variants": variants, "shadow": {"alias": CHALLENGER}}))
    return {"RETORT_EXPERIMENT": str(path)}


def _show_components(console: Console, redis_description: str, engine: Engine, recipe: Recipe) -> None:
    """Print which Redis, database, language model and text encoder the demo uses."""
    backend = backend_name(recipe.profiles, LanguageModelSettings())
    model = "none is called; rules write the profiles from item metadata" if backend == "template" else backend
    for line in (
        redis_description,
        f"Database: {engine.url.render_as_string(hide_password=True)}",
        f"Language model: {model}",
        f"Text encoder: {recipe.encoder.model}",
        f"Item knowledge: {recipe.knowledge.path}, {MADE_UP}; it is shown, and no student learns from it",
    ):
        console.print(line, markup=False, highlight=False)


def _train(
    console: Console, engine: Engine, redis_url: str, arms: dict[str, Recipe], out: Path, workers: list[Child]
) -> dict[str, RunStatus]:
    """Submit all arms to the workers and show their progress; returns the finished runs by arm."""
    app = make_app(redis_url)
    run_ids = {}
    for name, recipe in arms.items():
        steps = make_steps(recipe, None, LanguageModelSettings())
        run_ids[name] = runs.create_run(engine, f"{_RECIPE}_{name}", recipe.raw, out, out, steps)
        send_step(app, run_ids[name], steps[0].name, steps[0].queue)
    with _bars(console) as bars:
        tasks = {name: bars.add_task(name, total=None, what="waiting for a worker") for name in arms}
        shown: set[tuple[str, str]] = set()
        while True:
            for worker in workers:
                worker.check("it ended before its run was done")
            states = {name: runs.read_run(engine, run_id) for name, run_id in run_ids.items()}
            for name, run in states.items():
                _show_progress(bars, tasks[name], name, run, shown)
                if run.status == FAILED:
                    raise RetortError(f"the {name} run failed in {run.error} Read {out}/worker-*.log.")
            if all(run.status == DONE for run in states.values()):
                return states
            time.sleep(_POLL_S)


def _worker(name: str, environment: dict[str, str], out: Path) -> AbstractContextManager[Child]:
    """Start a worker for one arm. OpenMP threads must not spin while they wait: the workers share the cores."""
    environment = {**environment, "OMP_WAIT_POLICY": "passive"}
    args = [sys.executable, "-m", "retort.offline.cli", "worker"]
    return start_child(args, f"worker {name}", log=out / f"worker-{name}.log", env=environment)


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:>10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[what]}"),
        console=console,
    )


def _show_progress(bars: Progress, task: TaskID, name: str, run: RunStatus, shown: set[tuple[str, str]]) -> None:
    """Move the run's bar, and print one line for each step that has ended."""
    working = next((step for step in run.steps if step.status == RUNNING), None)
    done = sum(step.status == DONE for step in run.steps)
    what = "done" if done == len(run.steps) else "waiting"
    if working:
        elapsed_s = (now() - working.started_at).total_seconds() if working.started_at else 0.0
        left = seconds_left(working.done, working.total, elapsed_s)
        progress = describe_progress(working.what, working.done, working.total, left) if working.what else "started"
        what = f"{working.name}: {progress}"
    bars.update(task, completed=done, total=len(run.steps), what=what)
    for step in run.steps:
        if step.status == DONE and (name, step.name) not in shown and step.started_at and step.ended_at:
            shown.add((name, step.name))
            seconds = (step.ended_at - step.started_at).total_seconds()
            bars.console.print(f"{name:>10}  {step.name:<9} {seconds:6.1f} s", highlight=False)


def _show_next(console: Console, url: str, user_id: str, item_id: str) -> None:
    """Print requests to try."""
    post = f"curl -X POST -H 'content-type: application/json' {url}"
    event = orjson.dumps({"user_id": user_id, "item_id": item_id}).decode()
    request = orjson.dumps({"history": [item_id], "k": 5}).decode()
    for line in (
        f"API: {url} (documentation at {url}/docs, a console at {url}/console)",
        f"  curl '{url}/recommend?user_id={user_id}&k=5'",
        f"  {post}/events -d '{event}'",
        f"  {post}/recommend -d '{request}'",
    ):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
