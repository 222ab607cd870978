"""The Celery application and its worker process. Celery only wakes workers; the database holds all state."""

import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from celery import Celery
from celery.signals import before_task_publish
from kombu import Queue
from kombu.exceptions import OperationalError

from retort.shared.base.errors import RetortError, StoreError

QUEUES = ("cpu", "gpu-train", "gpu-llm")
# Message header: time of sending in seconds since 1970, for the metric of waiting time.
SENT_AT = "sent_at"
VISIBILITY_S = 120
# Seconds until a task looks again at work that another worker holds, or at a store that is down.
LOOK_AGAIN_S = 10


def make_app(redis_url: str, *, visibility_s: int = VISIBILITY_S) -> Celery:
    """Create a Celery application that can send tasks. The `register_…` functions let it execute them.

    Args:
        visibility_s: Redis delivers an unacknowledged message again after this time. It is short, because a second
            copy does no harm: it finds the lease.
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
        # a Redis that is no longer the primary refuses commands and leaves the connections open: connect again
        broker_channel_error_retry=True,
        broker_transport_options={
            "visibility_timeout": visibility_s,
            # By default kombu restores lost messages only in every tenth round, after some 100 s.
            "unacked_restore_throttle": 1,
        },
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
    )
    return app


@before_task_publish.connect  # type: ignore[untyped-decorator]
def _add_sent_at(headers: dict[str, Any] | None = None, **_: Any) -> None:
    if headers is not None:
        headers[SENT_AT] = time.time()


def send_task(app: Celery, task: str, kwargs: Mapping[str, Any], queue: str) -> None:
    """Send a message to any worker of a queue. Raises StoreError if Redis is down."""
    try:
        app.send_task(task, kwargs=dict(kwargs), queue=queue, ignore_result=True)
    except OperationalError as error:
        raise StoreError(
            f"the task could not be sent to Redis ({error}); check REDIS_URL and that Redis runs."
        ) from None


def schedule_task(
    app: Celery, name: str, task: str, every_s: float, queue: str, kwargs: Mapping[str, Any] | None = None
) -> None:
    """Let Celery beat send a task at this interval. A message that no worker takes within one interval expires."""
    app.conf.beat_schedule = {
        **(app.conf.beat_schedule or {}),
        name: {
            "task": task,
            "schedule": every_s,
            "kwargs": dict(kwargs or {}),
            "options": {"queue": queue, "ignore_result": True, "expires": every_s},
        },
    }


def run_worker(app: Celery, queues: Sequence[str], *, log_level: str = "INFO") -> None:
    """Run a worker until it is stopped. Ctrl-C once: after the present step. Twice: at once, the step is released.

    The worker is one process without forks, because CUDA and vLLM cannot be used in a forked child.

    Raises:
        RetortError: A queue is unknown.
        StoreError: Celery has ended the worker because of an error.
    """
    from celery.worker import state

    unknown = sorted(set(queues) - set(QUEUES))
    if unknown or not queues:
        raise RetortError(f"there is no queue {', '.join(unknown) or '(none)'}; choose among: {', '.join(QUEUES)}.")
    # Several workers of one machine need different names; otherwise each receives the others' control messages.
    name = f"retort-{'-'.join(queues)}-{uuid.uuid4().hex[:8]}@%h"
    logging.getLogger("celery").setLevel(log_level)
    worker = app.Worker(
        pool="solo",
        concurrency=1,
        queues=list(queues),
        hostname=name,
        loglevel=log_level,
        without_gossip=True,
        without_mingle=True,
    )
    worker.start()
    if worker.exitcode and state.should_stop is None and state.should_terminate is None:
        raise StoreError("the worker has ended because of an error, see the log above; start it again.")
