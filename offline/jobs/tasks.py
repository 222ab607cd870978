"""Celery tasks of the pipeline: a step of a run, and the drain of events.

The state of a run is in the database (`offline/jobs/runs.py`) and in its directory; a message only wakes a worker. A
task that is delivered twice, or whose worker was killed, does no harm: it finds the step done, resumes it, or finds
that another worker holds the lease and looks again later.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from celery import Celery, Task
from celery.utils.log import get_task_logger
from sqlalchemy import Engine

from retort.offline.common.progress import Progress
from retort.offline.jobs import runs
from retort.offline.jobs.celery_app import LOOK_AGAIN_S, schedule_task, send_task
from retort.offline.jobs.heartbeat import run_under_lease
from retort.offline.jobs.leases import Lease
from retort.offline.jobs.runs import RunStatus, StepItem
from retort.offline.pipeline.dag import Pipeline
from retort.shared.base.errors import StoreError

STEP_TASK = "offline.step"
DRAIN_TASK = "offline.drain_events"
_logger = get_task_logger(__name__)

# Opens the pipeline of a run.
MakePipeline = Callable[[RunStatus, Progress], Pipeline[Any]]
# Finds the bundle of a finished pipeline.
BundleOf = Callable[[Pipeline[Any]], Path]
# A block in which nothing else in this process uses the GPU.
ExclusiveGpu = Callable[[], AbstractContextManager[None]]


class LogProgress:
    """Progress reporter that writes lines to the worker's log, without progress bars."""

    def update(self, what: str, done: int, total: int | None) -> None:
        """Do nothing: progress is in the database."""

    def say(self, line: str) -> None:
        """Log a line."""
        _logger.info(line)


def send_step(app: Celery, run_id: str, step: str, queue: str) -> None:
    """Wake any worker of a queue for a step. Raises StoreError if Redis is down."""
    send_task(app, STEP_TASK, {"run_id": run_id, "step": step}, queue)


def register_step_task(
    app: Celery,
    engine: Engine,
    make_pipeline: MakePipeline,
    bundle_path: BundleOf,
    exclusive_gpu: ExclusiveGpu = nullcontext,
) -> None:
    """Let an application execute the steps of the runs in a database. exclusive_gpu: held during a step."""

    @app.task(name=STEP_TASK, bind=True, max_retries=None)  # type: ignore[untyped-decorator]
    def step(self: Task, run_id: str, step: str) -> None:
        try:
            if runs.is_settled(engine, run_id, step):
                return
            with exclusive_gpu():
                if lease := runs.lease_step(engine, run_id, step):
                    run_step(app, engine, lease, make_pipeline, bundle_path)
                    return
        except StoreError as error:
            _logger.warning("%s Trying again in %s s.", error, LOOK_AGAIN_S)
        else:
            _logger.info("another worker holds step %s of run %s; looking again in %s s", step, run_id, LOOK_AGAIN_S)
        raise self.retry(countdown=LOOK_AGAIN_S)


def run_step(app: Celery, engine: Engine, lease: Lease, make_pipeline: MakePipeline, bundle_path: BundleOf) -> None:
    """Execute one leased step, record how it ended, and send the next step."""
    run_id, name = lease.key["run_id"], lease.key["name"]
    run = runs.read_run(engine, run_id)
    item = StepItem(engine, lease, LogProgress())
    opened: list[Pipeline[Any]] = []

    def work(_: object) -> None:
        opened.append(make_pipeline(run, item))
        opened[0].complete(name)

    if not run_under_lease(item, work):
        return
    following = opened[0].step_after(name)
    if following:
        send_step(app, run_id, following.name, following.queue)
    else:
        runs.end_run(engine, run_id, bundle_path(opened[0]))


def register_drain(app: Celery, drain: Callable[[], object]) -> None:
    """Let an application move serving's events to the database. drain: returns a description of what was moved.

    If a store is down, the events stay on their stream until the next run of the schedule.
    """

    @app.task(name=DRAIN_TASK)  # type: ignore[untyped-decorator]
    def drain_events() -> None:
        try:
            _logger.info("%s were moved to the database", drain())
        except StoreError as error:
            _logger.warning("events wait on their stream: %s", error)


def schedule_drains(app: Celery, every_s: float) -> None:
    """Let Celery beat start a drain at this interval."""
    schedule_task(app, "drain events", DRAIN_TASK, every_s, "cpu")
