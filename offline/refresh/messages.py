"""Celery messages of refreshes. A message only wakes a worker; the worker finds its work in the database.

A worker also looks for work every poll_s, so a broker that loses messages or is down costs seconds and no profile. The
work runs in a thread of its own: messages are acknowledged at once and never held for the hours that a refresh takes.
Each GPU has one such worker, with Celery's solo pool, on the queue `gpu-llm`.
"""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery
from celery.signals import worker_shutting_down
from kombu.exceptions import OperationalError

from retort.offline.jobs.celery_app import schedule_task
from retort.offline.refresh.worker import RefreshWorker

QUEUE = "gpu-llm"
LOOK_TASK = "offline.refresh.look"
START_TASK = "offline.refresh.start"
POLL_S = 15.0
_logger = logging.getLogger(__name__)


def wake_workers(app: Celery) -> bool:
    """Wake a worker. Returns False if the broker is down: workers then find the refresh when they next look."""
    try:
        app.send_task(LOOK_TASK, queue=QUEUE, ignore_result=True, retry=False)
    except OperationalError as error:
        _logger.warning("no worker could be woken (%s); workers look for refreshes every %g s", error, POLL_S)
        return False
    return True


def register_refreshes(
    app: Celery, wake: threading.Event | None, start_refresh: Callable[[dict[str, Any]], None]
) -> None:
    """Let an application receive the messages of refreshes. wake: wakes this process's worker; None if it has none."""

    @app.task(name=LOOK_TASK)  # type: ignore[untyped-decorator]
    def look() -> None:
        if wake is not None:
            wake.set()

    @app.task(name=START_TASK)  # type: ignore[untyped-decorator]
    def start(what: dict[str, Any]) -> None:
        start_refresh(what)
        if wake is not None:
            wake.set()


@contextmanager
def serve_refreshes(worker: RefreshWorker, poll_s: float = POLL_S) -> Iterator[threading.Event]:
    """Run a refresh worker in a thread during the block, which is Celery's loop. Yields the event that wakes it.

    An error that ends the thread, such as a model that cannot be loaded, is raised at the end of the block.
    """
    wake = threading.Event()
    errors: list[BaseException] = []

    def work() -> None:
        try:
            worker.work_forever(wake, poll_s)
        except Exception as error:  # noqa: BLE001 - passed to the main thread, which ends the worker with it
            _logger.error("the refresh worker ends: %s", error)
            errors.append(error)
            os.kill(os.getpid(), signal.SIGTERM)  # otherwise Celery's loop would go on without the worker

    def stop(**_: Any) -> None:
        worker.stopping.set()
        wake.set()

    worker_shutting_down.connect(stop, weak=False)
    thread = threading.Thread(target=work, name="refreshes", daemon=True)
    thread.start()
    try:
        yield wake
    finally:
        stop()
        thread.join(worker.grace_s)
        worker_shutting_down.disconnect(stop)
    if errors:
        raise errors[0]


def schedule_refreshes(app: Celery, every_s: float, what: dict[str, Any]) -> None:
    """Let Celery beat start a refresh at this interval. what: the options of `retort refresh`, as JSON."""
    schedule_task(app, f"refresh {what['recipe']}", START_TASK, every_s, QUEUE, {"what": what})
