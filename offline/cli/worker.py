"""The worker process of `retort worker` and `retort refresh work`.

Every worker registers every task, whatever its queues, because Celery drops a message whose task is unknown. A worker
of the queue `gpu-llm` also works on refreshes, in a thread. It executes one job at a time: a run's step waits until the
current chunk is done.
"""

from contextlib import ExitStack, nullcontext

from celery import Celery
from rich.console import Console
from sqlalchemy import Engine

from retort.offline.cli.events import drain_once
from retort.offline.cli.recommend_tasks import register_shards
from retort.offline.cli.refresh import start_by_beat
from retort.offline.common.database import migrate_and_open
from retort.offline.common.progress import Progress
from retort.offline.experiments.unit_tasks import register_units
from retort.offline.jobs.celery_app import make_app, run_worker
from retort.offline.jobs.runs import RunStatus
from retort.offline.jobs.tasks import ExclusiveGpu, register_drain, register_step_task
from retort.offline.local.local_redis import redis_service
from retort.offline.pipeline.build import make_pipeline
from retort.offline.pipeline.context import bundle_path, make_context
from retort.offline.recipes.recipe import parse_recipe
from retort.offline.refresh.messages import POLL_S, QUEUE, register_refreshes, serve_refreshes
from retort.offline.refresh.requests import prepare_requested
from retort.offline.refresh.worker import RefreshWorker
from retort.shared.base.settings import LanguageModelSettings, Settings


def work(queues: list[str], poll_s: float = POLL_S) -> None:
    """Run a worker until SIGTERM or Ctrl-C; without REDIS_URL it uses the local Redis, which it starts if needed."""
    settings = Settings()
    engine = migrate_and_open(settings)
    with redis_service(settings.redis_url, settings.retort_home) as service, ExitStack() as stack:
        Console(stderr=True).print(service.description, markup=False, highlight=False)
        app = make_app(service.url)
        exclusive_gpu: ExclusiveGpu = nullcontext
        if QUEUE in queues:
            writer = stack.enter_context(
                RefreshWorker(engine, LanguageModelSettings(), before_look=lambda: prepare_requested(engine))
            )
            wake = stack.enter_context(serve_refreshes(writer, poll_s))
            exclusive_gpu = writer.exclusive_gpu
        else:
            wake = None
        register_refreshes(app, wake, start_by_beat)
        register_steps(app, engine, settings, exclusive_gpu)
        register_units(app, engine, exclusive_gpu)
        register_shards(app)
        register_drain(app, lambda: drain_once(settings.histories_url or service.url, engine))
        run_worker(app, queues, log_level=settings.log_level)


def register_steps(app: Celery, engine: Engine, settings: Settings, exclusive_gpu: ExclusiveGpu) -> None:
    """Let an application execute the steps of submitted runs. exclusive_gpu: held during a step."""

    def open_submitted(run: RunStatus, progress: Progress) -> object:
        recipe = parse_recipe(run.recipe_name, run.recipe)
        data = None if run.data_dir == run.out_dir else run.data_dir
        bundles = settings.bundles_dir if any(step.name == "publish" for step in run.steps) else None
        return make_pipeline(make_context(recipe, data, engine, progress, bundles), run.out_dir)

    register_step_task(app, engine, open_submitted, bundle_path, exclusive_gpu)  # type: ignore[arg-type]
