"""Celery's part in a refresh: to say "go and look". Who looks, finds the work in the database.

A worker also looks by itself every poll_s, so a broker that loses messages, or is away, costs seconds and no profile.
The work runs in a thread beside Celery's loop: messages are acknowledged at once and never held for the hours that a
refresh takes. One such worker a GPU, solo pool, queue `gpu-llm`.
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

from retort.offline.refresh.worker import RefreshWorker

QUEUE = "gpu-llm"
LOOK_TASK = "offline.refresh.look"
START_TASK = "offline.refresh.start"
POLL_S = 15.0
_logger = logging.getLogger(__name__)


def send_look(app: Celery) -> bool:
    """Wake a worker. False where the broker cannot be reached: workers find the job when they next look."""
    try:
        app.send_task(LOOK_TASK, queue=QUEUE, ignore_result=True, retry=False)
    except OperationalError as error:
        _logger.warning("no worker could be woken (%s); they look by themselves every %g s", error, POLL_S)
        return False
    return True


def register_refreshes(
    app: Celery, wake: threading.Event | None, start_refresh: Callable[[dict[str, Any]], None]
) -> None:
    """Teach an application the messages of refreshes. wake: of this process's factory; None where it has none."""

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
    """While the block runs (Celery's worker loop), do refreshes in a thread of their own; yields what wakes it.

    An error that ends the thread (a model that cannot be opened) is raised at the end of the block.
    """
    wake = threading.Event()
    ended: list[BaseException] = []

    def work() -> None:
        try:
            worker.work_forever(wake, poll_s)
        except Exception as error:  # noqa: BLE001 - carried to the main thread, which ends the worker with it
            _logger.error("refreshes end here: %s", error)
            ended.append(error)
            os.kill(os.getpid(), signal.SIGTERM)  # Celery's own loop would go on and answer for nothing

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
    if ended:
        raise ended[0]


def schedule_starts(app: Celery, every_s: float, what: dict[str, Any]) -> None:
    """Let Celery beat send for a refresh again and again; `what` are the words of `retort refresh`, as JSON."""
    app.conf.beat_schedule = {
        **(app.conf.beat_schedule or {}),
        f"refresh {what['recipe']}": {
            "task": START_TASK,
            "schedule": every_s,
            "kwargs": {"what": what},
            # the workers that are there for it; one that nobody did in time is dropped, not piled up
            "options": {"queue": QUEUE, "ignore_result": True, "expires": every_s},
        },
    }
