"""The line as Celery tasks: each task is one call, `pipeline.ensure(step)`, and then sends for the next step.

The truth about a run is in the database (`offline/jobs/status.py`) and in its directory; Celery only wakes a worker.
A task that is delivered twice, or whose worker was killed, is harmless: it finds the step done, resumes it, or finds
another process at it and looks again later.
"""

import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

from celery import Celery, Task
from celery.signals import before_task_publish
from celery.utils.log import get_task_logger
from kombu import Queue
from kombu.exceptions import OperationalError
from sqlalchemy import Engine

from retort.offline.common.progress import Progress
from retort.offline.jobs import status
from retort.offline.jobs.status import RunStatus
from retort.offline.pipeline.dag import Pipeline
from retort.shared.base.errors import RetortError, StoreError

STEP_TASK = "offline.step"
DRAIN_TASK = "offline.drain_events"
QUEUES = ("cpu", "gpu-train", "gpu-llm")
# A message's header: when it was sent, in seconds since 1970, so that one can see how long it waits.
SENT_AT = "sent_at"
VISIBILITY_S = 120
_LOOK_AGAIN_S = 10
_MAX_ATTEMPTS = 5
_logger = get_task_logger(__name__)

# From a run's row and a listener to its line, ready to be worked on.
MakePipeline = Callable[[RunStatus, Progress], Pipeline[Any]]
# From a line that is done to its bundle.
BundleOf = Callable[[Pipeline[Any]], Path]
# What else this process does with its GPU stands aside meanwhile.
Turn = Callable[[], AbstractContextManager[None]]


class LogProgress:
    """Progress as log lines; bars make no sense in a worker's log."""

    def update(self, what: str, done: int, total: int | None) -> None:
        """The database is told; the log is not."""

    def say(self, line: str) -> None:
        """One line of the log."""
        _logger.info(line)


def make_app(redis_url: str, *, visibility_s: int = VISIBILITY_S) -> Celery:
    """A Celery application that can send tasks; `register` makes it one that can do them.

    visibility_s: after this long an unacknowledged task is handed out again. Short, because a second copy does no harm.
    """
    app = Celery("retort", broker=redis_url)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        task_queues=[Queue(name) for name in QUEUES],
        task_default_queue="cpu",
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            "visibility_timeout": visibility_s,
            # kombu looks for lost tasks every 10th round by default: some 100 s
            "unacked_restore_throttle": 1,
        },
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
    )
    return app


@before_task_publish.connect  # type: ignore[untyped-decorator]
def _note_when(headers: dict[str, Any] | None = None, **_: Any) -> None:
    if headers is not None:
        headers[SENT_AT] = time.time()


def send_step(app: Celery, run_id: str, step: str, queue: str) -> None:
    """Ask any worker of a queue to do a step."""
    try:
        app.send_task(STEP_TASK, kwargs={"run_id": run_id, "step": step}, queue=queue, ignore_result=True)
    except OperationalError as error:
        raise StoreError(f"the task could not be sent to Redis ({error}); is REDIS_URL right and Redis up?") from None


def register(
    app: Celery, engine: Engine, make_pipeline: MakePipeline, bundle_path: BundleOf, turn: Turn = nullcontext
) -> None:
    """Teach an application to do the steps of runs that are written down in `engine`. turn: held while one is done."""

    @app.task(name=STEP_TASK, bind=True, max_retries=None)  # type: ignore[untyped-decorator]
    def step(self: Task, run_id: str, step: str) -> None:
        try:
            if status.already_followed(engine, run_id, step):
                return
            with turn():
                if status.lease_step(engine, run_id, step):
                    do_step(app, engine, make_pipeline, bundle_path, run_id, step)
                    return
        except StoreError as error:
            _logger.warning("%s Trying again in %s s.", error, _LOOK_AGAIN_S)
        else:
            _logger.info("step %s of run %s is done elsewhere; looking again in %s s", step, run_id, _LOOK_AGAIN_S)
        raise self.retry(countdown=_LOOK_AGAIN_S)


def register_drain(app: Celery, drain: Callable[[], object]) -> None:
    """Teach an application to bring serving's events to the database; `drain` says what was brought.

    A store that is away is waited for by the next tick of beat: the events stay on their stream.
    """

    @app.task(name=DRAIN_TASK)  # type: ignore[untyped-decorator]
    def drain_events() -> None:
        try:
            _logger.info("%s were brought to the database", drain())
        except StoreError as error:
            _logger.warning("events wait on their stream: %s", error)


def schedule_drains(app: Celery, every_s: float) -> None:
    """Let Celery beat send for a drain again and again; one that nobody did in time is dropped, not piled up."""
    app.conf.beat_schedule = {
        **(app.conf.beat_schedule or {}),
        "drain events": {
            "task": DRAIN_TASK,
            "schedule": every_s,
            "options": {"queue": "cpu", "ignore_result": True, "expires": every_s},
        },
    }


def do_step(
    app: Celery, engine: Engine, make_pipeline: MakePipeline, bundle_path: BundleOf, run_id: str, name: str
) -> None:
    """Do one leased step, record how it went, and send for the next."""
    run = status.read_run(engine, run_id)
    if run.step(name).attempts > _MAX_ATTEMPTS:
        error = f"begun {_MAX_ATTEMPTS} times and never finished; read the worker's log, then submit again"
        status.end_step(engine, run_id, name, error=error)
        return
    try:
        pipeline = make_pipeline(run, status.StepProgress(engine, run_id, name, LogProgress()))
        with status.heartbeat(engine, run_id, name):
            pipeline.ensure(name)
    except (KeyboardInterrupt, SystemExit):
        status.release_step(engine, run_id, name)
        raise
    except StoreError:
        # the task is tried again: stores come back
        with suppress(StoreError):  # the database itself may be away
            status.release_step(engine, run_id, name)
        raise
    except Exception as error:  # noqa: BLE001 - recorded, with its traceback in the log
        _record_failure(engine, run_id, name, error)
        return
    _go_on(app, engine, pipeline, bundle_path, run_id, name)


def _record_failure(engine: Engine, run_id: str, name: str, error: Exception) -> None:
    # Whatever it was belongs into the database, where the person who waits will look.
    known = isinstance(error, RetortError)
    sentence = str(error) if known else traceback.format_exception_only(error)[-1].strip()
    _logger.error("step %s of run %s failed: %s", name, run_id, sentence, exc_info=None if known else error)
    status.end_step(engine, run_id, name, error=sentence)


def _go_on(app: Celery, engine: Engine, pipeline: Pipeline[Any], bundle_path: BundleOf, run_id: str, name: str) -> None:
    status.end_step(engine, run_id, name)
    following = pipeline.step_after(name)
    if following:
        send_step(app, run_id, following.name, following.queue)
    else:
        status.end_run(engine, run_id, bundle_path(pipeline))
